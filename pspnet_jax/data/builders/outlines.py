"""What polygons and run lengths cover: a pixel belongs to a shape if its centre does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pspnet_jax.errors import UserError

_FAR = 1e6  # pixels; nobody draws out there
_LONGEST = 20_000_000  # rows that an outline may cross, each time counted: 1 GB of memory


class Patch(NamedTuple):
  """A part of an image, and which of its pixels are covered."""

  top: int
  left: int
  mask: np.ndarray  # bool [h, w]

  @property
  def area(self) -> int:
    return int(np.count_nonzero(self.mask))

  def of(self, image: np.ndarray) -> np.ndarray:
    """The view of this part of an image [H, W]."""
    height, width = self.mask.shape
    return image[self.top : self.top + height, self.left : self.left + width]


def fill(points: np.ndarray, size: tuple[int, int], where: str) -> Patch:
  """What a closed polygon covers of an image; where it crosses itself, by the even-odd rule.

  Args:
    points: float [n, 2], x and y; the first pixel lies between 0 and 1. What is outside the image
      is cut off.
    size: height and width of the image.
    where: for messages.

  Raises:
    UserError: for coordinates that are no finite numbers or far away, or an endless outline.
  """
  if not (np.abs(points) < _FAR).all():  # false for what is no number, too
    raise UserError(f'{where} has points that are no places in a picture: correct its outline.')
  limit = np.array(size[::-1])
  left, top = np.clip(np.floor(points.min(0)), 0, limit).astype(int)
  right, bottom = np.clip(np.ceil(points.max(0)), 0, limit).astype(int)
  h, w = bottom - top, right - left
  (x0, y0), (x1, y1) = points.T, np.roll(points, -1, 0).T
  # Each edge crosses the centre lines of rows from `first` on, `count` of them.
  first = np.clip(np.ceil(np.minimum(y0, y1) - 0.5), top, bottom).astype(int)
  count = np.clip(np.ceil(np.maximum(y0, y1) - 0.5), top, bottom).astype(int) - first
  total = int(count.sum())
  if total > _LONGEST:
    raise UserError(f'{where} has an outline of more than {_LONGEST:,} rows: simplify it.')
  edge = np.repeat(np.arange(len(points)), count)
  row = np.arange(total) - np.repeat(np.cumsum(count) - count, count) + first[edge]
  slope = np.divide(x1 - x0, y1 - y0, out=np.zeros(len(points)), where=y1 != y0)
  at = x0[edge] + (row + 0.5 - y0[edge]) * slope[edge]
  column = np.clip(np.ceil(at - 0.5), left, right).astype(int) - left
  flips = np.bincount((row - top) * (w + 1) + column, minlength=h * (w + 1)).reshape(h, w + 1)
  return Patch(int(top), int(left), (np.cumsum(flips, 1)[:, :w] & 1).astype(bool))


def union(patches: Sequence[Patch], size: tuple[int, int]) -> Patch:
  """What any of them covers."""
  if len(patches) == 1:
    return patches[0]
  mask = np.zeros(size, bool)
  for patch in patches:
    patch.of(mask)[...] |= patch.mask
  return Patch(0, 0, mask)


def run_lengths(text: str, where: str) -> list[int]:
  """The run lengths in a string of COCO's: six bits a character, five of a number and one to go on.

  From the fourth number on, each is the difference to the last but one.
  """
  runs: list[int] = []
  value = shift = 0
  for character in text:
    bits = ord(character) - 48
    if not 0 <= bits < 64 or shift > 50:
      raise UserError(f'{where} has run lengths that cannot be read: export it again.')
    value |= (bits & 31) << shift
    shift += 5
    if not bits & 32:
      if bits & 16:  # negative
        value -= 1 << shift
      runs.append(value + (runs[-2] if len(runs) > 2 else 0))
      value = shift = 0
  return runs


def unroll(runs: Sequence[int], size: tuple[int, int], where: str) -> Patch:
  """What run lengths cover: column by column, the pixels of a run without, one with, and so on.

  Raises:
    UserError: unless they cover the image exactly.
  """
  if any(run < 0 for run in runs) or sum(runs) != size[0] * size[1]:
    raise UserError(
      f'{where} has run lengths of another size than its image, {size[1]}x{size[0]} (width x '
      'height): export it again.'
    )
  mask = np.repeat(np.arange(len(runs)) % 2 == 1, np.array(runs, int))
  return Patch(0, 0, mask.reshape(size[1], size[0]).T)
