"""The largest batch that a device's memory holds, found in as few compilations as may be."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class Largest:
  """What was found.

  Attributes:
    batch: the largest batch that is known to fit; 0 if none does.
    is_largest: whether the next one is known not to fit.
  """

  batch: int
  is_largest: bool


def largest_batch(
  needs: Callable[[int], float],
  capacity: float,
  *,
  unit: int,
  first: int,
  tries: int = 6,
) -> Largest:
  """Looks for the largest batch that fits.

  Memory grows nearly in proportion to the batch beyond what the weights take. So each guess lies
  where the line through the last two would reach the capacity.

  Args:
    needs: bytes a device for a batch; infinite where that is all that is known. It compiles.
    capacity: bytes of a device.
    unit: batches are multiples of it.
    first: the batch to begin with, a multiple of `unit`.
    tries: how often `needs` is called at most.
  """
  known: dict[int, float] = {}
  guess, fits = first, 0
  while len(known) < tries:
    known[guess] = needs(guess)
    fits = max((n for n, size in known.items() if size <= capacity), default=0)
    fails = min((n for n, size in known.items() if size > capacity), default=None)
    if fails is not None and fails - fits <= unit:
      return Largest(fits, is_largest=True)
    guess = max(_reaches(known, capacity) // unit * unit, fits + unit)
    if fails is not None and guess >= fails:
      # A line is no help where all that fails is infinite.
      guess = fails - unit if fits else (fits + fails) // 2 // unit * unit
      guess = max(guess, fits + unit)
  return Largest(fits, is_largest=False)


def _reaches(known: dict[int, float], capacity: float) -> int:
  """The batch at which the line through the two nearest to the capacity reaches it."""
  points = sorted((abs(size - capacity), n, size) for n, size in known.items())
  points = [point for point in points if point[0] < float('inf')]
  if not points:
    return 0
  _, n, size = points[0]
  if len(points) == 1:
    return int(n * capacity / size)
  _, other, other_size = points[1]
  slope = (size - other_size) / (n - other)
  return int(n + (capacity - size) / slope) if slope > 0 else n
