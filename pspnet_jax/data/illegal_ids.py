"""What probably went wrong where a label holds what is no class: a sentence with the remedy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pspnet_jax.data.spec import IGNORE_LABEL
from pspnet_jax.errors import BadData

COLOURS = 1 << 24  # the length of a table from colours, packed as `decode.read_ids` packs them
_FEW = 3  # of the distinct ids of smoothed edges, and there are seldom so few
SMOOTHED = (
  'this is what smoothed edges or a JPEG leave behind, so draw or scale such labels without '
  'smoothing (nearest neighbour), save them as PNG, or threshold them'
)


def holds_colours(table: np.ndarray) -> bool:
  """Whether a table is from packed colours, and not from ids."""
  return len(table) == COLOURS


def rgb(colour: int) -> tuple[int, int, int]:
  """The colour that a number stands for."""
  return int(colour) >> 16, int(colour) >> 8 & 255, int(colour) & 255


def settings(**values: Sequence[int]) -> str:
  """Says how to give these settings: in the class file, or on the command line."""
  lines = [
    f'`{"ignore" if key == "ignore_ids" else key}: {" ".join(map(str, ids))}`'
    for key, ids in values.items()
  ]
  flags = [f'--config.data.{key}={",".join(map(str, ids))}' for key, ids in values.items()]
  return f'write {" and ".join(lines)} into the class file, or give {" ".join(flags)}'


def was_smoothed(counts: Mapping[int, int], table: np.ndarray) -> bool:
  """Whether labels look as if they had been blurred, scaled or compressed as pictures are.

  A few ids are classes or ignored and frequent; more are illegal, each rarer than any of those, and
  lie between them.

  Args:
    counts: pixels of each id or packed colour.
    table: from them to class ids.
  """
  illegal = {i: n for i, n in counts.items() if not 0 <= i < len(table) or table[i] < 0}
  most = max(illegal.values(), default=0)
  frequent = [i for i, n in counts.items() if i not in illegal and n > most]
  if len(frequent) < 2 or len(illegal) < max(_FEW, len(frequent) + 1):
    return False
  pixels = sum(illegal.values())
  if pixels > sum(counts[i] for i in frequent) / 2:
    return False
  if holds_colours(table):
    return True
  between = sum(n for i, n in illegal.items() if min(frequent) < i < max(frequent))
  return between >= 0.9 * pixels


def refusal(path: str | Path, ids: np.ndarray, table: np.ndarray) -> BadData:
  """The error for a label file that holds these ids, or packed colours, of which some are illegal.

  It names the file, what is illegal, how many pixels that concerns, and what to do.
  """
  present, counts = np.unique(ids, return_counts=True)
  inside = (present >= 0) & (present < len(table))
  illegal = ~inside | (table[np.where(inside, present, 0)] < 0)
  bad, pixels = present[illegal], int(counts[illegal].sum())
  smoothed = was_smoothed(dict(zip(present.tolist(), counts.tolist(), strict=True)), table)
  if holds_colours(table):
    return _unknown_colour(path, bad, counts[illegal], ids.size, table, smoothed)
  ignored = np.flatnonzero(table == IGNORE_LABEL)
  classes = np.flatnonzero((table >= 0) & (table != IGNORE_LABEL))
  shown = ', '.join(str(i) for i in bad[:8]) + (', ...' if len(bad) > 8 else '')
  first, last = int(classes[0]), int(classes[-1])
  span = f'{first}-{last}' if last - first + 1 == len(classes) else f'{len(classes)} ids listed'
  known = f'no class ({span})'
  if ignored.size:
    known = f'neither a class ({span}) nor ignored ({", ".join(map(str, ignored[:8]))})'
  if smoothed:
    remedy = SMOOTHED
  elif len(classes) == 2 and len(bad) == 1 and set(present) <= {0, bad[0]}:
    remedy = f'for a binary mask {settings(label_ids=(0, int(bad[0])))}'
  elif first == 0 and list(bad) == [last + 1] and np.setdiff1d(present, ignored)[0] >= 1:
    remedy = f'if the ids count from 1, {settings(label_offset=(1,))}'
  elif first == 0 and list(bad) == [last + 1]:
    remedy = beyond_the_last(last + 1)
  elif first > 0 and list(bad) == [0]:
    remedy = f'if 0 is no class, {settings(ignore_ids=(0,))}'
  else:
    remedy = 'add the missing classes to the class file, or list these ids after `ignore:` there'
  return BadData(
    'smoothed label' if smoothed else 'illegal ids',
    f'{path} has {pixels} of {ids.size} pixels with id {shown}, {known}: {remedy}.',
  )


def beyond_the_last(unknown: int) -> str:
  """The remedy where ids may count from 1 and 0 be no class, or the last be no class."""
  return (
    f'if the ids count from 1 and 0 is no class, {settings(label_offset=(1,), ignore_ids=(0,))}; '
    f'if {unknown} is no class, {settings(ignore_ids=(unknown,))}'
  )


def _unknown_colour(
  path: str | Path,
  bad: np.ndarray,
  counts: np.ndarray,
  size: int,
  table: np.ndarray,
  smoothed: bool,
) -> BadData:
  listed = np.flatnonzero(table >= 0)
  colour, pixels = rgb(bad[counts.argmax()]), int(counts.sum())
  distances = np.linalg.norm([np.subtract(rgb(i), colour) for i in listed.tolist()], axis=1)
  nearest = rgb(listed[distances.argmin()])
  if smoothed:
    remedy = SMOOTHED
  elif (
    all(len(set(rgb(i))) == 1 for i in bad.tolist()) and max(map(max, map(rgb, bad.tolist()))) < 255
  ):
    remedy = 'if this file holds ids, leave out `labels: colours`; else add the colours to classes'
  else:
    remedy = 'give it to a class, or list it after `ignore:`, in the class file'
  more = f' and {len(bad) - 1} more unknown colours' if len(bad) > 1 else ''
  return BadData(
    'smoothed label' if smoothed else 'unknown colour',
    f'{path} has {pixels} of {size} pixels ({pixels / size:.2%}) of the unknown colour '
    f'{colour}{more}, the nearest listed one being {nearest} at a distance of '
    f'{distances.min():.1f}: {remedy}.',
  )
