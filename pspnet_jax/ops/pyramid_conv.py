"""The 3×3 convolution of upsampled pyramid levels, without ever upsampling them."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from pspnet_jax.ops.images import EXACT, bilinear_matrix, times_rows


def _shifted(matrix: np.ndarray) -> np.ndarray:
  """Stacks the row above, at and below each: [3, size, b] from [size, b]; zero outside."""
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
  """Sums conv3x3(resize(grid, size), kernel) over the levels, exactly, without the upsampled maps.

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
    term = jnp.einsum('jwb,ijnabo->niawo', across.astype(wide), taps, precision=EXACT)
    terms.append(term.reshape(n, 3 * b, size[1], -1))  # [N, 3b, W, O]
    rows.append(down.transpose(1, 0, 2).reshape(size[0], 3 * b))
  # One product for all levels writes the [N, H, W, O] result once instead of once a level.
  all_rows = np.concatenate(rows, axis=1)  # [H, 3 * sum(bins)]
  return times_rows(all_rows, jnp.concatenate(terms, axis=1))
