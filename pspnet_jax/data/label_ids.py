"""What label files hold, as class ids: by a table in which whatever nobody listed is illegal.

A table is int16 [65536], from ids, or int16 [2**24], from colours packed as `decode.read_ids` does.
"""

from __future__ import annotations

import collections
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

from pspnet_jax.data.decode import read_ids
from pspnet_jax.data.illegal_ids import COLOURS, holds_colours, refusal, rgb
from pspnet_jax.data.spec import IGNORE_LABEL
from pspnet_jax.errors import BadData, UserError

ILLEGAL = -1
_SUSPECT = 254  # an illegal id, or the last of 255 classes
_ID_LIMIT = 1 << 16  # ids of 16-bit label files


def label_table(
  class_ids: Sequence[int | Sequence[int]], ignore_ids: Iterable[int] = ()
) -> np.ndarray:
  """The look-up table from ids in label files to class ids.

  Args:
    class_ids: the id that the files give to each class, or several, in the order of the classes.
    ignore_ids: ids in the files that mean "leave this pixel out". 255 always does, unless it is
      the id of a class.

  Returns:
    int16 [65536]: class id, IGNORE_LABEL, or ILLEGAL for every id not mentioned.

  Raises:
    UserError: for ids that repeat, that do not fit 16 bits, or that are both a class and ignored.
  """
  groups = [[int(i) for i in np.ravel(ids)] for ids in class_ids]
  ignored = {int(i) for i in ignore_ids}
  of_classes = collections.Counter(itertools.chain.from_iterable(groups))
  for value in (*of_classes, *ignored):
    if not 0 <= value < _ID_LIMIT:
      raise UserError(f'label id {value} is outside 0-{_ID_LIMIT - 1}: no label file can hold it.')
    if of_classes[value] > 1:
      raise UserError(f'label id {value} is given twice: give it to one class, once.')
    if of_classes[value] and value in ignored:
      free = (i for i in range(_ID_LIMIT) if i not in ignored)
      example = ' '.join(map(str, itertools.islice(free, min(len(groups), 4))))
      raise UserError(
        f'label id {value} is both a class and ignored: list the ids of the classes alone, such as '
        f'`label_ids: {example}{" ..." if len(groups) > 4 else ""}`, or do not ignore it.'
      )
  return _table(_ID_LIMIT, groups, [IGNORE_LABEL, *ignored])


def colour_table(
  colours: Sequence[Sequence[Sequence[int]]],
  ignored: Iterable[Sequence[int]] = (),
  names: Sequence[str] | None = None,
) -> np.ndarray:
  """The look-up table from packed colours in label files to class ids.

  Args:
    colours: RGB, those of each class in the order of the classes.
    ignored: colours that mean "leave this pixel out"; no other does.
    names: of the classes, for messages.

  Returns:
    int16 [2**24]: class id, IGNORE_LABEL, or ILLEGAL for every colour not mentioned.

  Raises:
    UserError: for colours that repeat, or that are both a class and ignored.
  """
  owners: dict[int, str] = {}
  groups = []
  for i, of_class in enumerate([*colours, list(ignored)]):
    name = 'ignore' if i == len(colours) else names[i] if names else f'class {i}'
    groups.append([_packed(colour) for colour in of_class])
    for value in groups[-1]:
      owner = owners.setdefault(value, name)
      if owner != name or (i < len(colours) and groups[-1].count(value) > 1):
        raise UserError(
          f'the colour {rgb(value)} stands for both {owner} and {name}: give each its own.'
        )
  return _table(COLOURS, groups[:-1], groups[-1])


def read_label(path: str | Path, table: np.ndarray, *, data: bytes | None = None) -> np.ndarray:
  """Decodes a label file: one id or colour a pixel, exactly as stored, mapped through `table`.

  Args:
    path: a palette file (its indices are the ids, its colours decoration), or grey of 1, 2, 4, 8 or
      16 bits, in a lossless format; with a table from colours, whatever has colours.
    table: from `label_table` or `colour_table`.
    data: what the file holds, if it has been read; `path` is for messages then.

  Returns:
    uint8 [H, W]: class ids and IGNORE_LABEL.

  Raises:
    UserError: for a file that cannot be decoded, is lossy, is in colour where ids are wanted, or
      holds an illegal id or colour.
  """
  return map_ids(path, read_ids(path, data=data, colours=holds_colours(table)), table)


def map_ids(path: str | Path, ids: np.ndarray, table: np.ndarray) -> np.ndarray:
  """What `read_label` does with ids or colours once they are read; `path` is for the message."""
  if ids.dtype == np.uint8 and not holds_colours(table):  # the common case, at a fraction of it
    of_byte = table[:256]
    mapped = cv2.LUT(ids, np.where(of_byte == ILLEGAL, _SUSPECT, of_byte).astype(np.uint8))
    legal = not (mapped == _SUSPECT).any() or (of_byte[ids] != ILLEGAL).all()
  else:
    found = table.take(ids, mode='clip')
    mapped = found.astype(np.uint8)
    legal = found.min() >= 0 and ids.min() >= 0 and ids.max() < len(table)
  if not legal:
    raise refusal(path, ids, table)
  return mapped


def colour_label(path: str | Path, error: BadData, palette: Sequence[Sequence[int]]) -> BadData:
  """What to say of a label file that was refused where ids are wanted.

  Args:
    path: of the file.
    error: what it was refused with; returned unless the file is a colour image.
    palette: the colours of the classes.
  """
  if error.kind != 'colour label':
    return error
  try:
    colours = read_ids(path, colours=True)
  except BadData:
    return error
  if not (colours % 0x010101).any():  # grey in three channels, which `error` says
    return error
  share = float(np.isin(colours, [_packed(colour) for colour in palette]).mean())
  remedy = 'write `labels: colours` into the class file, or give --config.data.labels=colours'
  if share < 1:
    remedy = f'give every class its colour, and {remedy}'
  which = 'all' if share == 1 else f'{share:.0%}'
  return BadData(
    'colour label',
    f'{path} is a colour image where a label has one id a pixel, and {which} of its pixels have '
    f'the colours of classes: {remedy}.',
  )


def _table(length: int, classes: Sequence[Sequence[int]], ignored: Sequence[int]) -> np.ndarray:
  if len(classes) > IGNORE_LABEL:
    raise UserError(f'{len(classes)} classes: a uint8 label holds 2 to {IGNORE_LABEL} classes.')
  table = np.full(length, ILLEGAL, np.int16)
  table[list(ignored)] = IGNORE_LABEL
  for i, values in enumerate(classes):
    table[list(values)] = i
  return table


def _packed(colour: Sequence[int]) -> int:
  red, green, blue = (int(value) for value in colour)
  if not 0 <= min(red, green, blue) <= max(red, green, blue) <= 255:
    raise UserError(f'{(red, green, blue)} is no colour: give three numbers, RGB in 0-255.')
  return red << 16 | green << 8 | blue
