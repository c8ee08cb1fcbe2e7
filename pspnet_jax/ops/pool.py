"""Max pooling and adaptive pooling of NHWC arrays."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from pspnet_jax.ops.images import EXACT, times_rows


def max_pool(x: jax.Array) -> jax.Array:
  """Max pooling of the stem: 3×3, stride 2, one pixel of padding.

  It compares slices along one axis, then along the other. The gradient goes to the first maximum of
  a window, as in torch, and takes a fifth of the time of `lax.reduce_window`'s.
  """
  return _max_of_three(_max_of_three(x, 2), 1)


def _max_of_three(x: jax.Array, axis: int) -> jax.Array:
  out = (x.shape[axis] + 1) // 2
  padding = [(1, 2, 0) if i == axis else (0, 0, 0) for i in range(4)]
  x = lax.pad(x, jnp.array(-jnp.inf, x.dtype), padding)
  first, *others = (lax.slice_in_dim(x, i, i + 2 * out, 2, axis) for i in range(3))
  for other in others:
    first = jnp.where((first >= other) | jnp.isnan(first), first, other)
  return first


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
