"""Bilinear upsampling, cell by cell: values at pixels that are used where they are made.

The centres of four neighbouring inputs are the corners of a cell, and what is interpolated within
it is a weighted sum of these four. Written so, as a product of what is broadcast instead of a
matrix product, interpolation is elementwise: a compiler for accelerators computes a pixel's logits
within the sum over the classes that needs them, and never writes logits of the image's size. Pixels
are not in the order of rows and columns then, which no sum over pixels minds.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from pspnet_jax.ops.images import bilinear_position


@dataclasses.dataclass(frozen=True)
class Interval:
  """The intervals between the inputs of one axis, and the outputs within each.

  Args:
    size_in: length of what is interpolated.
    size_out: length of the result.
    align_corners: see `images.bilinear_taps`.
    every: of the result only each n-th position counts.
  """

  size_in: int
  size_out: int
  align_corners: bool
  every: int = 1

  @functools.cached_property
  def _low(self) -> tuple[np.ndarray, np.ndarray]:
    """The input at or before each output, from -1 to the last, and how far beyond it that lies."""
    position = bilinear_position(self.size_in, self.size_out, self.align_corners)[:: self.every]
    # A product such as 59 * (59 / 59) may be rounded past the last input.
    low = np.clip(np.floor(position), -1, self.size_in - 1).astype(int)
    return low, position - low

  @functools.cached_property
  def outputs(self) -> np.ndarray:
    """The outputs of each interval, counted in the `every`-th: int [K, R]; -1 fills up."""
    low, _ = self._low
    interval = low - low[0]
    nth = np.arange(len(low)) - np.searchsorted(interval, interval)
    outputs = np.full((interval[-1] + 1, nth.max() + 1), -1)
    outputs[interval, nth] = np.arange(len(low))
    return outputs

  @functools.cached_property
  def fraction(self) -> np.ndarray:
    """How far each of them lies towards the interval's end: float64 [K, R], from 0 to 1."""
    return np.where(self.outputs < 0, 0, self._low[1][self.outputs])

  def ends(self, x: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    """The inputs where each interval begins and ends; the border goes on as it is."""
    low, _ = self._low
    first, count = low[0], len(self.outputs)
    padding = [(0, 0)] * x.ndim
    padding[axis] = (max(-first, 0), max(low[-1] + 2 - self.size_in, 0))
    x = jnp.pad(x, padding, mode='edge')
    start = max(first, 0)
    begin, end = (lax.slice_in_dim(x, i, i + count, axis=axis) for i in (start, start + 1))
    return begin, end

  def select(self, dtype: jnp.dtype) -> jax.Array:
    """A product with it puts outputs in the order of the intervals: 0/1 [K R, size_out]."""
    where = self.outputs.reshape(-1, 1) * self.every
    return jnp.asarray((where == np.arange(self.size_out)) & (where >= 0), dtype)


@dataclasses.dataclass(frozen=True)
class Cells:
  """The cells of a map whose values are interpolated to an image's pixels.

  Attributes:
    rows, columns: the intervals of both axes, K and J of them.
  """

  rows: Interval
  columns: Interval

  @classmethod
  def of(
    cls, map_size: Sequence[int], size: Sequence[int], *, align_corners: bool, every: int = 1
  ) -> Cells:
    """The cells between a map of `map_size` and an image of `size`; see `Interval`."""
    return cls(*(Interval(a, b, align_corners, every) for a, b in zip(map_size, size, strict=True)))

  def corners(self, x: jax.Array) -> tuple[jax.Array, ...]:
    """Top left, top right, bottom left, bottom right of [N, h, w, C]'s cells: [N, K, J, C] each."""
    top, bottom = self.rows.ends(x, 1)
    return *self.columns.ends(top, 2), *self.columns.ends(bottom, 2)

  def interpolated(self, corners: tuple[jax.Array, ...], *, flat: bool) -> jax.Array:
    """Values at the P pixels of each cell: [N, K, J, P, C]; elementwise, for what sums over C.

    Args:
      corners: those of `corners`.
      flat: whether a cell's rows and columns are one axis from the beginning. They are on TPUs,
        which lay out the last two axes in tiles. XLA for GPUs transposes what is summed over more
        than 31 places at once, as the gradient is over P; over rows, then columns it does not.
    """
    dtype = corners[0].dtype
    f, g = self.rows.fraction[:, :, None], self.columns.fraction[:, None, :]  # [K, R, 1], [J, 1, S]
    count = f.shape[1], g.shape[2]
    if flat:
      f, g = (np.broadcast_to(x, (len(x), *count)).reshape(len(x), -1) for x in (f, g))
    f, g = f[:, None, ..., None].astype(dtype), g[..., None].astype(dtype)
    spread = (..., *(None,) * (f.ndim - 3), slice(None))
    top_left, top_right, bottom_left, bottom_right = (x[spread] for x in corners)
    top = top_left * (1 - g) + top_right * g
    bottom = bottom_left * (1 - g) + bottom_right * g
    values = top * (1 - f) + bottom * f
    return values.reshape(*values.shape[:3], -1, values.shape[-1])

  def arrange(self, label: jax.Array, fill: int) -> jax.Array:
    """Puts labels [N, H, W] of 0 to 255 in the order of the cells' pixels: [N, K, J, P].

    Cells that have fewer pixels are filled up. Products with ones move whole numbers up to 256
    exactly in bfloat16, without the gathers that TPUs are slow in.
    """
    rows, columns = self.rows.select(jnp.bfloat16), self.columns.select(jnp.bfloat16)
    above = (fill - label.astype(jnp.int32)).astype(jnp.bfloat16)  # what is filled up is 0
    above = jnp.einsum('Hh,nhw->nHw', rows, above)
    above = jnp.einsum('Ww,nHw->nHW', columns, above)
    k, r = self.rows.outputs.shape
    j, s = self.columns.outputs.shape
    above = above.reshape(-1, k, r, j, s).swapaxes(2, 3).reshape(-1, k, j, r * s)
    return (fill - above.astype(jnp.int32)).astype(label.dtype)
