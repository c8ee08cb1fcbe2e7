"""What polygons cover by COCO's own rule, that of rleFrPoly in cocoapi's common/maskApi.c.

The outline is walked on a grid five times as fine as the pixels, with coordinates rounded to it and
each edge taken in unit steps along its longer side. Where the walk crosses the centre line of a
column, it enters or leaves the shape. That is not quite the rule of `outlines.fill`, by which the
centre of a pixel decides: both differ in the pixels that an outline passes through.
"""

from __future__ import annotations

import numpy as np

from pspnet_jax.data.builders.outlines import Patch
from pspnet_jax.errors import UserError

_FINE = 5  # steps a pixel
_FAR = 1e6  # pixels; nobody draws out there
_LONGEST = 4_000_000  # steps of a walk: 0.2 GB of memory


def fill(points: np.ndarray, size: tuple[int, int], where: str) -> Patch:
  """What a closed polygon covers of an image, exactly as pycocotools has it.

  Args:
    points: float [n, 2], x and y; fewer than three cover nothing.
    size: height and width of the image. What is outside is cut off.
    where: for messages.

  Raises:
    UserError: for coordinates that are no finite numbers or far away, or an endless outline.
  """
  if not (np.abs(points) < _FAR).all():  # false for what is no number, too
    raise UserError(f'{where} has points that are no places in a picture.')
  height, width = size
  x, y = _walk((_FINE * points + 0.5).astype(int), where)  # rounded towards zero, as by a C cast
  before, after = x[:-1], x[1:]
  left = np.where(after < before, after, after - 1)  # of the step, which is 2 before a centre line
  crosses = (before != after) & (left % _FINE == 2) & (left >= 0) & (left < _FINE * width)
  column = left[crosses] // _FINE
  lower = np.minimum(y[:-1], y[1:])[crosses]
  row = np.clip(-((2 - lower) // _FINE), 0, height)  # (lower - 2) / 5, rounded up
  if not len(column):
    return Patch(0, 0, np.zeros((0, 0), bool))
  first, top = int(column.min()), int(row.min())
  w, h = int(column.max()) - first + 1, int(row.max()) - top
  flips = np.bincount((column - first) * (h + 1) + row - top, minlength=w * (h + 1))
  inside = np.cumsum(flips.reshape(w, h + 1), 1)[:, :h] & 1  # [w, h]: down the columns
  return Patch(top, first, inside.T.astype(bool))


def _walk(corners: np.ndarray, where: str) -> tuple[np.ndarray, np.ndarray]:
  """The points that are passed, x [m] and y [m], from the first corner back to it."""
  ends = np.roll(corners, -1, 0)
  across = np.abs(ends - corners)  # [n, 2]
  steps = across.max(1)
  total = int(steps.sum()) + len(steps)
  if total > _LONGEST:
    raise UserError(f'{where} has an outline of more than {_LONGEST:,} steps.')
  flat = across[:, 0] >= across[:, 1]
  long = np.where(flat, 0, 1)  # the longer side of an edge: that of x, or of y
  edge = np.arange(len(corners))
  # Rounding depends on the direction: an edge is laid out upwards, whichever way it is walked.
  back = corners[edge, long] > ends[edge, long]
  start = np.where(back[:, None], ends, corners)
  rise = np.where(back, -1, 1) * (ends - corners)[edge, 1 - long]
  slope = np.divide(rise, steps, out=np.zeros(len(steps)), where=steps > 0)
  edge = np.repeat(edge, steps + 1)
  step = np.arange(total) - np.repeat(np.cumsum(steps + 1) - steps - 1, steps + 1)
  step = np.where(back[edge], steps[edge] - step, step)
  along = start[edge, long[edge]] + step
  aside = (start[edge, 1 - long[edge]] + slope[edge] * step + 0.5).astype(int)
  return np.where(flat[edge], along, aside), np.where(flat[edge], aside, along)
