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

from pspnet_jax.ops import winograd

# Interpolation and pooling are a sliver of the arithmetic: never let them round to TF32 or bf16.
_EXACT = lax.Precision.HIGHEST


def normalize(
  image: jax.Array, mean: Sequence[float], std: Sequence[float], dtype: jnp.dtype = jnp.float32
) -> jax.Array:
  """(image - mean) / std for uint8 or float pixels [..., 3], computed in float32 or wider."""
  wide = jnp.promote_types(image.dtype, jnp.float32)
  image = (image.astype(wide) - jnp.asarray(mean, wide)) / jnp.asarray(std, wide)
  return image.astype(dtype)


def stored(x: jax.Array) -> jax.Array:
  """`x`, computed once, in a program compiled with `compiler_options.of_network`.

  XLA on CPU takes sums for cheap and computes them anew in each of their uses: of a residual block
  that would be its whole stage up to there. A PSPNet-101 takes a fifth less time without. Compilers
  for accelerators weigh that themselves.
  """
  return lax.optimization_barrier(x) if jax.default_backend() == 'cpu' else x


def conv(x: jax.Array, kernel: jax.Array, *, stride: int = 1, dilation: int = 1) -> jax.Array:
  """Convolution of [N, H, W, I] with an odd-sided [k, k, I, O], zero padding `dilation * (k // 2)`.

  As torch pads, so that an input of H rows gives ceil(H / stride) rows. A 1×1 convolution is a
  matrix product, which XLA runs faster than a convolution on CPU. There wide 3×3 convolutions take
  fewer multiplications, too (`winograd`); libraries of accelerators choose for themselves.
  """
  if kernel.shape[:2] == (1, 1):
    return _pointwise(x[:, ::stride, ::stride], kernel[0, 0])
  on_cpu = jax.default_backend() == 'cpu'
  if on_cpu and stride == 1 and winograd.worthwhile(x.shape, kernel.shape, dilation):
    return winograd.conv3x3(x, kernel, dilation)
  padding = [(dilation * (k // 2),) * 2 for k in kernel.shape[:2]]
  return lax.conv_general_dilated(
    x,
    kernel,
    window_strides=(stride, stride),
    padding=padding,
    rhs_dilation=(dilation, dilation),
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
  )


def _product(axes: str, x: jax.Array, y: jax.Array) -> jax.Array:
  """A matrix product; of bfloat16, XLA on CPU computes it twice as fast if asked for float32."""
  wide = jnp.promote_types(x.dtype, jnp.float32) if jax.default_backend() == 'cpu' else None
  return jnp.einsum(axes, x, y, preferred_element_type=wide).astype(x.dtype)


@jax.custom_vjp
def _pointwise(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """[N, H, W, I] times [I, O]."""
  return _product('nhwi,io->nhwo', x, kernel)


def _pointwise_gradients(
  residuals: tuple[jax.Array, jax.Array], g: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """As JAX's own, but for the order of factors: XLA on CPU transposes the first, so the smaller."""
  x, kernel = residuals
  gradient = (
    _product('nhwi,nhwo->io', x, g)
    if x.shape[-1] <= g.shape[-1]
    else _product('nhwo,nhwi->oi', g, x).T
  )
  return _product('nhwo,io->nhwi', g, kernel), gradient


_pointwise.defvjp(lambda x, kernel: (_pointwise(x, kernel), (x, kernel)), _pointwise_gradients)


def max_pool(x: jax.Array) -> jax.Array:
  """3×3 max pooling of stride 2, one pixel of padding: the stem's.

  Along one axis, then the other, as comparisons of slices: their gradient, which goes to the first
  maximum of a window as torch's, takes a fifth of the time of `lax.reduce_window`'s.
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


def resize(
  x: jax.Array, size: tuple[int, int], *, align_corners: bool, every: int = 1
) -> jax.Array:
  """Bilinear resize of [N, h, w, C] to [N, *size, C]; see `bilinear_matrix`.

  With `every`=n, only each n-th row and column of the result is computed.
  """
  rows = bilinear_matrix(x.shape[1], size[0], align_corners)[::every]
  columns = bilinear_matrix(x.shape[2], size[1], align_corners)[::every]
  # Columns first, while there are few rows: the result of this product has to be transposed.
  if x.shape[2] != size[1] or every > 1:
    x = jnp.einsum('Ww,nhwc->nhWc', columns.astype(x.dtype), x, precision=_EXACT)
  return times_rows(rows, x) if x.shape[1] != size[0] or every > 1 else x


def times_rows(matrix: np.ndarray | jax.Array, x: jax.Array) -> jax.Array:
  """Matrix [H, h] times the rows of [N, h, W, C]: [N, H, W, C], in float32 or wider.

  With a matrix for each image, all alike and the first factor, both the product and its gradient
  read and write NHWC. One matrix for all images, or the gradient as JAX would write it, makes XLA
  transpose the feature map, or the logits: the largest arrays of a training step.
  """
  return _times_rows(jnp.asarray(matrix, x.dtype), x)


@jax.custom_vjp
def _times_rows(matrix: jax.Array, x: jax.Array) -> jax.Array:
  wide = jnp.promote_types(x.dtype, jnp.float32)
  matrices = jnp.broadcast_to(matrix, (x.shape[0], *matrix.shape))
  return jnp.einsum('nHh,nhwc->nHwc', matrices, x, precision=_EXACT, preferred_element_type=wide)


_times_rows.defvjp(
  lambda matrix, x: (_times_rows(matrix, x), matrix),
  lambda matrix, g: (None, _times_rows(matrix.T.astype(g.dtype), g).astype(matrix.dtype)),
)


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
  all_rows = np.concatenate([_membership(height, b) for b in bins])
  sums = times_rows(all_rows, x)  # [N, sum(bins), W, C]
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
    # One copy of the few cells for each tap, so that the large kernel is not transposed instead.
    copies = jnp.broadcast_to(grid, (3, 3, *grid.shape))
    taps = jnp.einsum('ijnabc,ijco->ijnabo', copies, kernel, preferred_element_type=wide)
    term = jnp.einsum('jwb,ijnabo->niawo', across.astype(wide), taps, precision=_EXACT)
    terms.append(term.reshape(n, 3 * b, size[1], -1))  # [N, 3b, W, O]
    rows.append(down.transpose(1, 0, 2).reshape(size[0], 3 * b))
  # One product for all levels writes the [N, H, W, O] result once instead of once a level.
  all_rows = np.concatenate(rows, axis=1)  # [H, 3 * sum(bins)]
  return times_rows(all_rows, jnp.concatenate(terms, axis=1))
