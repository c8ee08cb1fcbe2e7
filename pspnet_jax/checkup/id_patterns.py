"""What label ids give away over a whole data set: masks of 0 and 255, ids that count from 1, blur.

One file can mislead; what all files have in common seldom does.
"""

from __future__ import annotations

import collections
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from pspnet_jax.data.illegal_ids import (
  SMOOTHED,
  beyond_the_last,
  holds_colours,
  settings,
  was_smoothed,
)
from pspnet_jax.data.spec import IGNORE_LABEL

IdCounts = Mapping[str, Mapping[int, int]]  # label file -> stored id -> pixels
_TWO = settings(label_ids=(0, IGNORE_LABEL))
_INSTANCE_FACTOR = 1000  # Cityscapes' instance maps: class id × 1000 + instance


class Pattern(NamedTuple):
  """A mistake that label files show together."""

  kind: str
  everywhere: bool  # True: the settings are wrong; False: these files are
  files: list[str]
  says: str  # one sentence, in which {} stands for the files and 'hold'

  def message(self, files: list[str] | None = None) -> str:
    """The sentence about these files; by default all of them."""
    files = files or self.files
    subject = f'{files[0]} holds' if len(files) == 1 else f'{len(files)} labels hold'
    return self.says.replace('{}', subject)


def recognise(files: IdCounts, table: np.ndarray) -> list[Pattern]:
  """The mistakes that explain the ids in these files, each with its remedy.

  Args:
    files: what the label files hold.
    table: from stored ids, or packed colours, to class ids; see `data.label_ids`.
  """
  of_ids = [_binary, _from_one, _background, _instances]
  looks = [_smoothed, *([] if holds_colours(table) else of_ids)]
  return [pattern for look in looks if (pattern := look(files, table)) is not None]


def _smoothed(files: IdCounts, table: np.ndarray) -> Pattern | None:
  """Edges with ids in between, so few in each file that only all files show what they are."""
  together: collections.Counter[int] = collections.Counter()
  for ids in files.values():
    together.update(ids)
  if not was_smoothed(together, table):
    return None
  holders = [file for file, ids in files.items() if _illegal(ids, table)]
  if all(was_smoothed(files[file], table) for file in holders):
    return None  # each says so itself
  what = 'colours' if holds_colours(table) else 'ids'
  return Pattern(
    'smoothed labels',
    True,
    holders,
    f'{{}} rare {what} that are no class between frequent ones that are: {SMOOTHED}.',
  )


def _binary(files: IdCounts, table: np.ndarray) -> Pattern | None:
  """255 is ignored, so that a mask of 0 and 255 reads as one class and nothing else."""
  if table[IGNORE_LABEL] != IGNORE_LABEL or table[0] == IGNORE_LABEL:
    return None
  with_255 = [f for f, ids in files.items() if IGNORE_LABEL in ids and not _illegal(ids, table)]
  masks = [file for file in with_255 if set(files[file]) == {0, IGNORE_LABEL}]
  if not masks or any(set(files[file]) - {0, IGNORE_LABEL} for file in with_255):
    return None
  if all(set(ids) <= {0, IGNORE_LABEL} for ids in files.values()):
    return Pattern(
      'masks of 0 and 255',
      True,
      masks,
      f'all {len(files)} labels hold no ids but 0 and 255, and 255 is ignored, so that nothing but '
      f'class 0 is left to learn: if 255 is the second of two classes, {_TWO}.',
    )
  return Pattern(
    'masks of 0 and 255',
    False,
    masks,
    '{} no ids but 0 and 255 while no other label holds 255: if these are binary '
    'masks, replace 255 by the id of its class.',
  )


def _from_one(files: IdCounts, table: np.ndarray) -> Pattern | None:
  """Ids 1 to N where 0 to N-1 are known: the last is unknown, and 0 is missing."""
  known = np.flatnonzero(table[:IGNORE_LABEL] >= 0)
  if known.size == 0 or known[0] != 0:
    return None
  beyond = int(known[-1]) + 1  # the first id that nobody listed, if ids simply count up
  shifted = [file for file, ids in files.items() if _illegal(ids, table) == {beyond}]
  with_zero = [file for file, ids in files.items() if 0 in ids]
  if not shifted or beyond != known.size:
    return None
  if not with_zero:
    return Pattern(
      'ids count from 1',
      True,
      shifted,
      f'id {beyond} is unknown and no label holds 0, so the ids count from 1: '
      f'{settings(label_offset=(1,))}.',
    )
  if len(shifted) * 2 > len(files):
    return Pattern(
      'ids count from 1',
      True,
      shifted,
      f'{{}} the unknown id {beyond}: {beyond_the_last(beyond)}.',
    )
  odd = [file for file in shifted if 0 not in files[file]]
  if not odd:
    return None
  return Pattern(
    'ids count from 1',
    False,
    odd,
    f'{{}} the unknown id {beyond} and no 0, while {len(with_zero)} others hold 0: if '
    'these few count from 1, subtract 1 from every id in them.',
  )


def _background(files: IdCounts, table: np.ndarray) -> Pattern | None:
  """Classes count from 1, and 0 is neither a class nor ignored."""
  illegal = {file: _illegal(ids, table) for file, ids in files.items()}
  holders = [file for file, ids in illegal.items() if 0 in ids]
  if not holders or set().union(*illegal.values()) != {0}:
    return None
  return Pattern(
    'background 0',
    True,
    holders,
    '{} id 0, the only one that is neither a class nor ignored: if 0 is no class, '
    f'{settings(ignore_ids=(0,))}.',
  )


def _instances(files: IdCounts, table: np.ndarray) -> Pattern | None:
  large = {
    file: {i for i in _illegal(ids, table) if i > IGNORE_LABEL} for file, ids in files.items()
  }
  holders = [file for file, ids in large.items() if ids]
  if not holders:
    return None
  every = set().union(*large.values())
  pairs = all(table[min(i // _INSTANCE_FACTOR, len(table) - 1)] >= 0 for i in every)
  remedy = (
    f'if they are class × {_INSTANCE_FACTOR} + instance, divide them by {_INSTANCE_FACTOR}'
    if min(every) >= _INSTANCE_FACTOR and pairs
    else 'save class ids, not instance numbers, depths or packed colours'
  )
  return Pattern(
    'ids above 255',
    len(holders) == len(files),
    holders,
    f'{{}} ids above 255, up to {max(every)}: {remedy}.',
  )


def _illegal(ids: Mapping[int, int], table: np.ndarray) -> set[int]:
  return {i for i in ids if not 0 <= i < len(table) or table[i] < 0}
