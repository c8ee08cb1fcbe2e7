"""What a weight file holds before any of it is read: arrays in their places, and inert names."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import ml_dtypes
import numpy as np

# The floats that NumPy has not: they are read as float32, which holds each of them exactly.
SMALL_FLOATS = {
  name: np.dtype(getattr(ml_dtypes, name))
  for name in (
    'bfloat16',
    'float8_e4m3fn',
    'float8_e4m3fnuz',
    'float8_e5m2',
    'float8_e5m2fnuz',
  )
}


@dataclasses.dataclass(eq=False)
class StoredArray:
  """An array whose values lie in the file until they are needed.

  Attributes:
    dtype, shape: what the file says of it.
    values: reads them as an array of this dtype and shape; None as long as a pickle has only
      announced the array.
  """

  dtype: np.dtype
  shape: tuple[int, ...]
  values: Callable[[], np.ndarray] | None = None

  @property
  def nbytes(self) -> int:
    """Bytes it takes in memory, where floats are float32 at least."""
    return math.prod(self.shape) * max(self.dtype.itemsize, 4)

  def read(self) -> np.ndarray:
    """Its values; the small floats as float32.

    Raises:
      UserError: if the file is damaged there.
    """
    if self.values is None:
      raise ValueError('an array without values')
    array = self.values()
    return array.astype(np.float32) if self.dtype in SMALL_FLOATS.values() else array


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class Inert:
  """Stands where a pickle names something that only running code would give: nothing is run."""

  name: str  # package.module.Class


def strided(
  data: bytes | memoryview,
  dtype: np.dtype,
  offset: int,
  shape: tuple[int, ...],
  stride: tuple[int, ...],
) -> np.ndarray:
  """The array that begins `offset` elements into `data`; `fits` has to hold."""
  if 0 in shape:
    return np.zeros((0,), dtype)
  flat = np.frombuffer(data, f'u{dtype.itemsize}')[offset:]  # all that striding knows
  steps = tuple(s * dtype.itemsize if n > 1 else 0 for n, s in zip(shape, stride, strict=True))
  return np.lib.stride_tricks.as_strided(flat, shape, steps, writeable=False).view(dtype)


def fits(offset: int, shape: tuple[int, ...], stride: tuple[int, ...], count: int) -> bool:
  """Whether an array of these elements lies within a storage of `count` elements."""
  if len(shape) != len(stride) or len(shape) > 32:
    return False
  numbers = (offset, *shape, *stride)
  if not all(type(n) is int for n in numbers):
    return False
  if min(numbers) < 0 or max(numbers) >= 2**63:
    return False
  last = offset + sum((n - 1) * s for n, s in zip(shape, stride, strict=True))
  return 0 in shape or last < count
