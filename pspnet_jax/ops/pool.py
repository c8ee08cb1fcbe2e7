"""Max, average and adaptive pooling of NHWC arrays."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from pspnet_jax.ops.images import EXACT, times_rows


def max_pool(x: jax.Array) -> jax.Array:
  """Max pooling of the stem: 3×3, stride 2, one pixel of padding.

  The gradient goes to the first maximum of a window, as in torch. On a CPU it compares slices along
  one axis, then along the other, which takes a fifth of the time of `lax.reduce_window`'s gradient.
  GPUs look at each array once; all that is kept for the gradient is a byte a window. TPUs have an
  operation for it, with which the stem moves two thirds of that.
  """
  return lax.platform_dependent(
    x,
    cpu=lambda x: _max_of_three(_max_of_three(x, 2), 1),
    tpu=_max_of_windows,
    default=_max_of_nine,
  )


def _max_of_windows(x: jax.Array) -> jax.Array:
  padding = [(0, 0), (1, 1), (1, 1), (0, 0)]
  return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), padding)


def _max_of_three(x: jax.Array, axis: int) -> jax.Array:
  out = (x.shape[axis] + 1) // 2
  padding = [(1, 2, 0) if i == axis else (0, 0, 0) for i in range(4)]
  x = lax.pad(x, jnp.array(-jnp.inf, x.dtype), padding)
  first, *others = (lax.slice_in_dim(x, i, i + 2 * out, 2, axis) for i in range(3))
  for other in others:
    first = jnp.where((first >= other) | jnp.isnan(first), first, other)
  return first


_WINDOW = [(i, j) for i in range(3) for j in range(3)]


@jax.custom_vjp
def _max_of_nine(x: jax.Array) -> jax.Array:
  return _maximum_and_place(x)[0]


def _maximum_and_place(x: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Returns the maximum of each window, and as int8 which of its nine pixels is the first."""
  height, width = ((size + 1) // 2 for size in x.shape[1:3])
  x = lax.pad(x, jnp.array(-jnp.inf, x.dtype), [(0, 0, 0), (1, 2, 0), (1, 2, 0), (0, 0, 0)])
  first, *others = (x[:, i : i + 2 * height : 2, j : j + 2 * width : 2] for i, j in _WINDOW)
  place = jnp.zeros(first.shape, jnp.int8)  # [N, H/2, W/2, C]
  for k, other in enumerate(others, 1):
    stays = (first >= other) | jnp.isnan(first)
    first, place = jnp.where(stays, first, other), jnp.where(stays, place, jnp.int8(k))
  return first, place


def _max_of_nine_gradient(
  residuals: tuple[jax.Array, tuple[int, ...]], g: jax.Array
) -> tuple[jax.Array]:
  """Gathers, for each pixel, from the windows whose maximum it is."""
  place, sizes = residuals
  wide = jnp.promote_types(g.dtype, jnp.float32)
  zero, parts = jnp.zeros((), wide), []
  for k, starts in enumerate(_WINDOW):
    spread = [
      (start - 1, size - (2 * out - 1) - (start - 1), 1)
      for start, size, out in zip(starts, sizes, g.shape[1:3], strict=True)
    ]
    mine = jnp.where(place == k, g.astype(wide), 0)
    parts.append(lax.pad(mine, zero, [(0, 0, 0), *spread, (0, 0, 0)]))
  return (functools.reduce(jnp.add, parts).astype(g.dtype),)


def _max_of_nine_forward(x: jax.Array) -> tuple[jax.Array, tuple[jax.Array, tuple[int, ...]]]:
  y, place = _maximum_and_place(x)
  return y, (place, x.shape[1:3])


_max_of_nine.defvjp(_max_of_nine_forward, _max_of_nine_gradient)


def avg_pool(x: jax.Array) -> jax.Array:
  """Averages 2×2 windows at stride 2, [N, H, W, C] to [N, ceil(H/2), ceil(W/2), C].

  A window that an odd edge cuts off is the mean of what is there: torch's `ceil_mode=True,
  count_include_pad=False`. Sums are accumulated in float32 or wider.
  """
  sides = x.shape[1:3]
  rows, columns = (np.minimum(2, side - np.arange(0, side, 2)) for side in sides)
  padding = [(0, 0), *((0, side % 2) for side in sides), (0, 0)]
  wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
  sums = lax.reduce_window(wide, 0.0, lax.add, (1, 2, 2, 1), (1, 2, 2, 1), padding)
  area = (rows[:, None] * columns)[:, :, None]  # 4, 2 or 1
  return (sums / area.astype(wide.dtype)).astype(x.dtype)


def _cells(size: int, bins: int) -> list[tuple[int, int]]:
  """Where each adaptive pooling cell begins and ends: torch's rule, floor and ceil."""
  return [(i * size // bins, -(-(i + 1) * size // bins)) for i in range(bins)]


def _membership(size: int, bins: int) -> np.ndarray:
  """Marks the positions that each pooling cell holds, as a 0/1 matrix [bins, size]."""
  matrix = np.zeros((bins, size))
  for i, (start, stop) in enumerate(_cells(size, bins)):
    matrix[i, start:stop] = 1
  return matrix


def adaptive_avg_pool(x: jax.Array, bins: Sequence[int]) -> list[jax.Array]:
  """Averages [N, H, W, C] over a b×b grid for each b of `bins`: a list of [N, b, b, C].

  Sums are accumulated in float32 or wider and the division comes last. The feature map is read once
  for all levels; crops of 473 and 713 give maps of 60 and 90, which blocks of all bins divide.
  """
  height, width = x.shape[1:3]
  blocks = math.lcm(*bins)
  divide = height % blocks == 0 and width % blocks == 0
  sums = _sums_of_blocks(x, bins) if divide else _sums_of_overlapping(x, bins)
  pooled = []
  for level, b in zip(sums, bins, strict=True):
    rows, columns = (np.diff(_cells(side, b)) for side in (height, width))  # [b, 1] each
    area = rows[:, None] * columns
    pooled.append((level / area.astype(level.dtype)).astype(x.dtype))  # [N, b, b, C]
  return pooled


def _sums_of_blocks(x: jax.Array, bins: Sequence[int]) -> Iterator[jax.Array]:
  """Sums over the cells of each grid, made of blocks that lie whole in one cell of every grid."""
  n, height, width, channels = x.shape
  m = math.lcm(*bins)
  wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
  blocks = wide.reshape(n, m, height // m, m, width // m, channels).sum((2, 4))  # [N, m, m, C]
  # XLA would take the sum of all blocks for a sum of all pixels, and read those once more.
  blocks = lax.optimization_barrier(blocks)
  for b in bins:
    yield blocks.reshape(n, b, m // b, b, m // b, channels).sum((2, 4))


def _sums_of_overlapping(x: jax.Array, bins: Sequence[int]) -> Iterator[jax.Array]:
  """Sums over the cells of each grid, as products with 0/1 memberships: exact in bfloat16."""
  height, width = x.shape[1:3]
  sums = times_rows(np.concatenate([_membership(height, b) for b in bins]), x)
  first = 0  # of the rows of all levels, [N, sum(bins), W, C]
  for b in bins:
    columns = _membership(width, b).astype(sums.dtype)
    yield jnp.einsum('bw,nawc->nabc', columns, sums[:, first : first + b], precision=EXACT)
    first += b


def adaptive_max_pool(x: jax.Array, bins: Sequence[int]) -> list[jax.Array]:
  """Takes the maxima of [N, H, W, C] over a b×b grid for each b of `bins`: a list of [N, b, b, C].

  A gradient goes to the first maximum of a cell, as in torch. `x.max()` would not do: it looks for
  the maximum by equality with an `x` that XLA may compute anew and round differently, and where
  nothing equals it the gradient is 0/0.
  """

  def maximum(cell):
    window = (1, *cell.shape[1:3], 1)
    return lax.reduce_window(cell, -jnp.inf, lax.max, window, (1, 1, 1, 1), 'VALID')

  pooled = []
  for b in bins:
    rows = []
    for top, bottom in _cells(x.shape[1], b):
      row = [maximum(x[:, top:bottom, left:right]) for left, right in _cells(x.shape[2], b)]
      rows.append(jnp.concatenate(row, axis=2))  # [N, 1, b, C]
    pooled.append(jnp.concatenate(rows, axis=1))
  return pooled
