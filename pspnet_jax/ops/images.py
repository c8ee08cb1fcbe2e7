"""Pixels normalised and arrays resized, as products with small constant matrices.

The products are exact, differentiable and free of gathers on every platform. Arrays are NHWC.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

# Interpolation and pooling are a sliver of the arithmetic: never let them round to TF32 or bf16.
EXACT = lax.Precision.HIGHEST


def normalize(
  image: jax.Array, mean: Sequence[float], std: Sequence[float], dtype: jnp.dtype = jnp.float32
) -> jax.Array:
  """Computes (image - mean) / std for uint8 or float pixels [..., 3], in float32 or wider."""
  wide = jnp.promote_types(image.dtype, jnp.float32)
  image = (image.astype(wide) - jnp.asarray(mean, wide)) / jnp.asarray(std, wide)
  return image.astype(dtype)


def bilinear_position(size_in: int, size_out: int, align_corners: bool) -> np.ndarray:
  """Where each output pixel of an axis lies among the inputs: float64 [size_out].

  `align_corners` maps the centres of the outermost pixels onto each other (Caffe's Interp and
  semseg); otherwise pixels are areas (half-pixel rule, as OpenCV and torch's align_corners=False),
  and the outermost positions lie up to half a pixel beyond the border.
  """
  i = np.arange(size_out)
  if align_corners:
    return i * ((size_in - 1) / max(size_out - 1, 1))
  return (i + 0.5) * (size_in / size_out) - 0.5


def bilinear_taps(
  size_in: int, size_out: int, align_corners: bool
) -> tuple[np.ndarray, np.ndarray]:
  """Bilinear interpolation along one axis: the two pixels that make an output pixel.

  Positions are those of `bilinear_position`, clamped at the border. No anti-aliasing when
  shrinking, as in Caffe, OpenCV and torch.

  Returns:
    index int [size_out, 2] and weight float64 [size_out, 2].
  """
  position = np.clip(bilinear_position(size_in, size_out, align_corners), 0, size_in - 1)
  low = np.minimum(position.astype(int), size_in - 1)
  high = np.minimum(low + 1, size_in - 1)
  fraction = position - low
  return np.stack([low, high], 1), np.stack([1 - fraction, fraction], 1)


def bilinear_matrix(size_in: int, size_out: int, align_corners: bool) -> np.ndarray:
  """Does the same by a matrix, float64 [size_out, size_in]; see `bilinear_taps`."""
  index, weight = bilinear_taps(size_in, size_out, align_corners)
  matrix = np.zeros((size_out, size_in))
  np.add.at(matrix, (np.arange(size_out)[:, None], index), weight)
  return matrix


def resize(x: jax.Array, size: Sequence[int], *, align_corners: bool, every: int = 1) -> jax.Array:
  """Resizes [N, h, w, C] bilinearly to [N, *size, C]; see `bilinear_taps`.

  With `every`=n only each n-th row and column of the result is computed.
  """
  rows = bilinear_matrix(x.shape[1], size[0], align_corners)[::every]
  columns = bilinear_matrix(x.shape[2], size[1], align_corners)[::every]
  # Columns first, while there are few rows: the result of this product has to be transposed.
  if x.shape[2] != size[1] or every > 1:
    x = jnp.einsum('Ww,nhwc->nhWc', columns.astype(x.dtype), x, precision=EXACT)
  return times_rows(rows, x) if x.shape[1] != size[0] or every > 1 else x


def times_rows(matrix: np.ndarray | jax.Array, x: jax.Array) -> jax.Array:
  """Multiplies a matrix [H, h] by the rows of [N, h, W, C]: [N, H, W, C], in float32 or wider.

  Each image gets a copy of the matrix as the first factor, so that the product and its gradient
  read and write NHWC. With one matrix for all images, or with the gradient as JAX would write it,
  XLA transposes the feature map or the logits, the largest arrays of a training step.
  """
  return _times_rows(jnp.asarray(matrix, x.dtype), x)


@jax.custom_vjp
def _times_rows(matrix: jax.Array, x: jax.Array) -> jax.Array:
  wide = jnp.promote_types(x.dtype, jnp.float32)
  matrices = jnp.broadcast_to(matrix, (x.shape[0], *matrix.shape))
  return jnp.einsum('nHh,nhwc->nHwc', matrices, x, precision=EXACT, preferred_element_type=wide)


_times_rows.defvjp(
  lambda matrix, x: (_times_rows(matrix, x), matrix),
  lambda matrix, g: (None, _times_rows(matrix.T.astype(g.dtype), g).astype(matrix.dtype)),
)
