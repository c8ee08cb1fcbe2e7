"""The array operations PSPNet is made of, written as XLA likes them. Arrays are NHWC.

Resizing and adaptive pooling are products with small constant matrices: exact, differentiable,
any size, and free of gathers on every platform.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

# Interpolation and pooling are a sliver of the arithmetic: never let them round to TF32 or bf16.
_EXACT = lax.Precision.HIGHEST


def normalize(
  image: jax.Array, mean: Sequence[float], std: Sequence[float], dtype: jnp.dtype = jnp.float32
) -> jax.Array:
  """(image - mean) / std for uint8 or float pixels [..., 3], computed in float32 or wider."""
  wide = jnp.promote_types(image.dtype, jnp.float32)
  image = (image.astype(wide) - jnp.asarray(mean, wide)) / jnp.asarray(std, wide)
  return image.astype(dtype)


def conv(x: jax.Array, kernel: jax.Array, *, stride: int = 1, dilation: int = 1) -> jax.Array:
  """Convolution of [N, H, W, I] with an odd-sided [k, k, I, O], zero padding `dilation * (k // 2)`.

  As torch pads, so that an input of H rows gives ceil(H / stride) rows. A 1×1 convolution is a
  matrix product, which XLA runs faster than a convolution on CPU.
  """
  if kernel.shape[:2] == (1, 1):
    return jnp.einsum('nhwi,io->nhwo', x[:, ::stride, ::stride], kernel[0, 0])
  padding = [(dilation * (k // 2),) * 2 for k in kernel.shape[:2]]
  return lax.conv_general_dilated(
    x,
    kernel,
    window_strides=(stride, stride),
    padding=padding,
    rhs_dilation=(dilation, dilation),
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
  )


def max_pool(x: jax.Array) -> jax.Array:
  """3×3 max pooling of stride 2, one pixel of padding: the stem's."""
  padding = ((0, 0), (1, 1), (1, 1), (0, 0))
  return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), padding)


def bilinear_taps(
  size_in: int, size_out: int, align_corners: bool
) -> tuple[np.ndarray, np.ndarray]:
  """Bilinear interpolation along one axis: the two pixels that make an output pixel.

  `align_corners` maps the centres of the outermost pixels onto each other (Caffe's Interp and
  semseg); otherwise pixels are areas and positions are clamped at the border (half-pixel rule, as
  OpenCV and torch's align_corners=False). No anti-aliasing when shrinking, as in both.

  Returns:
    index int [size_out, 2] and weight float64 [size_out, 2].
  """
  i = np.arange(size_out)
  if align_corners:
    position = i * ((size_in - 1) / max(size_out - 1, 1))
  else:
    position = np.clip((i + 0.5) * (size_in / size_out) - 0.5, 0, size_in - 1)
  low = np.minimum(position.astype(int), size_in - 1)
  high = np.minimum(low + 1, size_in - 1)
  fraction = position - low
  return np.stack([low, high], 1), np.stack([1 - fraction, fraction], 1)


def bilinear_matrix(size_in: int, size_out: int, align_corners: bool) -> np.ndarray:
  """The same as a matrix, float64 [size_out, size_in]; see `bilinear_taps`."""
  index, weight = bilinear_taps(size_in, size_out, align_corners)
  matrix = np.zeros((size_out, size_in))
  np.add.at(matrix, (np.arange(size_out)[:, None], index), weight)
  return matrix


def resize(x: jax.Array, size: tuple[int, int], *, align_corners: bool) -> jax.Array:
  """Bilinear resize of [N, h, w, C] to [N, *size, C]; see `bilinear_matrix`."""
  rows = bilinear_matrix(x.shape[1], size[0], align_corners)
  columns = bilinear_matrix(x.shape[2], size[1], align_corners)
  if x.shape[1] != size[0]:
    x = jnp.einsum('Hh,nhwc->nHwc', rows.astype(x.dtype), x, precision=_EXACT)
  if x.shape[2] != size[1]:
    x = jnp.einsum('Ww,nhwc->nhWc', columns.astype(x.dtype), x, precision=_EXACT)
  return x


def _cells(size: int, bins: int) -> list[tuple[int, int]]:
  """Where each adaptive pooling cell begins and ends: torch's rule, floor and ceil."""
  return [(i * size // bins, -(-(i + 1) * size // bins)) for i in range(bins)]


def _membership(size: int, bins: int) -> np.ndarray:
  """0/1 matrix [bins, size]: which positions each pooling cell holds."""
  matrix = np.zeros((bins, size))
  for i, (start, stop) in enumerate(_cells(size, bins)):
    matrix[i, start:stop] = 1
  return matrix


def adaptive_avg_pool(x: jax.Array, bins: Sequence[int]) -> list[jax.Array]:
  """Averages [N, H, W, C] over a b×b grid for each b of `bins`: a list of [N, b, b, C].

  Sums are accumulated in float32 or wider. The feature map is read once for all levels: summing
  over 0/1 memberships is exact in bfloat16, the division comes last.
  """
  wide = jnp.promote_types(x.dtype, jnp.float32)
  height, width = x.shape[1:3]
  all_rows = np.concatenate([_membership(height, b) for b in bins]).astype(x.dtype)
  sums = jnp.einsum(
    'ah,nhwc->nawc', all_rows, x, precision=_EXACT, preferred_element_type=wide
  )  # [N, sum(bins), W, C]
  pooled, first = [], 0
  for b in bins:
    rows, columns = _membership(height, b), _membership(width, b)
    level = sums[:, first : first + b]
    level = jnp.einsum('bw,nawc->nabc', columns.astype(wide), level, precision=_EXACT)
    area = rows.sum(1)[:, None, None] * columns.sum(1)[None, :, None]
    pooled.append((level / area.astype(wide)).astype(x.dtype))  # [N, b, b, C]
    first += b
  return pooled


def adaptive_max_pool(x: jax.Array, bins: Sequence[int]) -> list[jax.Array]:
  """The maxima of [N, H, W, C] over a b×b grid for each b of `bins`: a list of [N, b, b, C].

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


def _shifted(matrix: np.ndarray) -> np.ndarray:
  """[size, b] -> [3, size, b]: the row above, at and below each; zero outside the image."""
  zero = np.zeros((1, matrix.shape[1]))
  above, below = np.vstack([zero, matrix[:-1]]), np.vstack([matrix[1:], zero])
  return np.stack([above, matrix, below])


def conv3x3_of_upsampled(
  grids: Sequence[jax.Array],
  kernels: Sequence[jax.Array],
  size: tuple[int, int],
  *,
  align_corners: bool,
) -> jax.Array:
  """Sum over levels of conv3x3(resize(grid, size), kernel), exactly, without the upsampled maps.

  A map upsampled from b×b cells is a fixed linear function of those cells, so its convolution is
  nine products of the cells with [C, O] matrices followed by two small interpolations: for PSPNet's
  head this removes half the arithmetic of its 3×3 convolution (docs/design/0002-split-head.md).

  Args:
    grids: one [N, b, b, C_b] for each level.
    kernels: one [3, 3, C_b, O] for each level.
    size: height and width of the result.
    align_corners: the rule of the upsampling.

  Returns:
    [N, *size, O] in float32 or wider.
  """
  wide = jnp.promote_types(grids[0].dtype, jnp.float32)
  rows, terms = [], []
  for grid, kernel in zip(grids, kernels, strict=True):
    n, b = grid.shape[:2]
    down = _shifted(bilinear_matrix(b, size[0], align_corners))  # [3, H, b]
    across = _shifted(bilinear_matrix(b, size[1], align_corners))  # [3, W, b]
    taps = jnp.einsum('nabc,ijco->nijabo', grid, kernel, preferred_element_type=wide)
    term = jnp.einsum('jwb,nijabo->niawo', across.astype(wide), taps, precision=_EXACT)
    terms.append(term.reshape(n, 3 * b, size[1], -1))  # [N, 3b, W, O]
    rows.append(down.transpose(1, 0, 2).reshape(size[0], 3 * b))
  # One product for all levels writes the [N, H, W, O] result once instead of once a level.
  all_rows = np.concatenate(rows, axis=1).astype(wide)  # [H, 3 * sum(bins)]
  return jnp.einsum('hk,nkwo->nhwo', all_rows, jnp.concatenate(terms, axis=1), precision=_EXACT)
