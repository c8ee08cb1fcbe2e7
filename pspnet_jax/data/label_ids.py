"""What the ids in label files mean: a table of class ids, where what nobody listed is illegal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

from pspnet_jax.data.decode import read_ids
from pspnet_jax.data.spec import IGNORE_LABEL
from pspnet_jax.errors import BadData, UserError

ILLEGAL = -1
_SUSPECT = 254  # an illegal id, or the last of 255 classes
_ID_LIMIT = 1 << 16  # ids of 16-bit label files


def label_table(class_ids: Sequence[int], ignore_ids: Iterable[int] = ()) -> np.ndarray:
  """The look-up table from ids in label files to class ids.

  Args:
    class_ids: the id that the files give to each class, in the order of the classes.
    ignore_ids: ids in the files that mean "leave this pixel out". 255 always does, unless it is
      the id of a class.

  Returns:
    int16 [65536]: class id, IGNORE_LABEL, or ILLEGAL for every id not mentioned.

  Raises:
    UserError: for ids that repeat, that do not fit 16 bits, or that are both a class and ignored.
  """
  class_ids, ignore_ids = [int(i) for i in class_ids], [int(i) for i in ignore_ids]
  for value in class_ids + ignore_ids:
    if not 0 <= value < _ID_LIMIT:
      raise UserError(f'label id {value} is outside 0-{_ID_LIMIT - 1}: no label file can hold it.')
    if class_ids.count(value) > 1:
      raise UserError(f'label id {value} is given to two classes: make the ids unique.')
    if value in class_ids and value in ignore_ids:
      raise UserError(f'label id {value} is both a class and ignored: drop one of the two.')
  if len(class_ids) > IGNORE_LABEL:
    raise UserError(f'{len(class_ids)} classes: a uint8 label holds 1 to {IGNORE_LABEL} classes.')
  table = np.full(_ID_LIMIT, ILLEGAL, np.int16)
  table[[IGNORE_LABEL, *ignore_ids]] = IGNORE_LABEL
  table[class_ids] = np.arange(len(class_ids))
  return table


def read_label(path: str | Path, table: np.ndarray, *, data: bytes | None = None) -> np.ndarray:
  """Decodes a label file: one id a pixel, exactly as stored, mapped through `table`.

  Args:
    path: a palette file (its indices are the ids, its colours decoration), or grey of 1, 2, 4, 8 or
      16 bits, in a lossless format.
    table: from `label_table`.
    data: what the file holds, if it has been read; `path` is for messages then.

  Returns:
    uint8 [H, W]: class ids and IGNORE_LABEL.

  Raises:
    UserError: for a file that cannot be decoded, is lossy or in colour, or holds an illegal id.
  """
  return map_ids(path, read_ids(path, data=data), table)


def map_ids(path: str | Path, ids: np.ndarray, table: np.ndarray) -> np.ndarray:
  """What `read_label` does with the ids once they are read; `path` is for the message only."""
  if ids.dtype == np.uint8:  # the common case, at a fraction of the cost
    of_byte = table[:256]
    mapped = cv2.LUT(ids, np.where(of_byte == ILLEGAL, _SUSPECT, of_byte).astype(np.uint8))
    legal = not (mapped == _SUSPECT).any() or (of_byte[ids] != ILLEGAL).all()
  else:
    mapped = table[np.clip(ids, 0, _ID_LIMIT - 1)].astype(np.uint8)
    legal = ids.min() >= 0 and ids.max() < _ID_LIMIT and (table[ids] != ILLEGAL).all()
  if not legal:
    raise BadData('illegal ids', _illegal_ids(path, ids, table))
  return mapped


def _illegal_ids(path: str | Path, ids: np.ndarray, table: np.ndarray) -> str:
  """A sentence with the file, its illegal ids, how many pixels, and what probably went wrong."""
  present, counts = np.unique(ids, return_counts=True)
  legal = np.flatnonzero(table >= 0)
  illegal = ~np.isin(present, legal)
  classes = np.flatnonzero((table >= 0) & (table != IGNORE_LABEL))
  pixels, bad = int(counts[illegal].sum()), present[illegal]
  shown = ', '.join(str(i) for i in bad[:8]) + (', ...' if len(bad) > 8 else '')
  first, last = int(classes[0]), int(classes[-1])
  span = f'{first}-{last}' if last - first + 1 == len(classes) else f'{len(classes)} ids listed'
  ignored = ', '.join(str(i) for i in np.flatnonzero(table == IGNORE_LABEL)[:8])
  used = present[~np.isin(present, np.flatnonzero(table == IGNORE_LABEL))]
  if len(classes) == 2 and len(bad) == 1 and set(present) <= {0, bad[0]}:
    remedy = f'for a binary mask with 0 and {bad[0]} give label_ids=(0, {bad[0]})'
  elif first == 0 and list(bad) == [last + 1] and used[0] >= 1:
    remedy = 'if the ids count from 1, give label_offset=1'
  elif first == 0 and list(bad) == [last + 1]:
    remedy = (
      f'if the ids count from 1 and 0 is no class, give label_offset=1 and ignore_ids=(0,); if '
      f'{last + 1} is no class, ignore_ids=({last + 1},)'
    )
  elif first > 0 and list(bad) == [0]:
    remedy = 'if 0 is no class, give ignore_ids=(0,)'
  else:
    remedy = 'add the missing classes, or list the ids under ignore_ids'
  return (
    f'{path} has {pixels} of {ids.size} pixels with id {shown}, neither a class ({span}) '
    f'nor ignored ({ignored}): {remedy}.'
  )
