"""Dilated convolutions whose kernel gradient is one that libraries for GPUs know.

The kernel gradient of a dilated convolution is a strided one, with the gradient of the result as a
window of the image's size. XLA for GPUs has no name for it and asks cuDNN for just that: a forward
convolution of a few pixels with a window of 60×60. Cut into phases, every d-th pixel of every d-th
row, the image is d² smaller ones and the convolution a plain one, whose kernel gradient has a name.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax


def direct(x: jax.Array, kernel: jax.Array, *, stride: int = 1, dilation: int = 1) -> jax.Array:
  """Convolution of [N, H, W, I] with an odd-sided [k, k, I, O], as XLA has it.

  Zero padding is `dilation * (k // 2)`, so that H rows give ceil(H / stride).
  """
  return lax.conv_general_dilated(
    x,
    kernel,
    window_strides=(stride, stride),
    padding=[(dilation * (k // 2),) * 2 for k in kernel.shape[:2]],
    rhs_dilation=(dilation, dilation),
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
  )


def phases(x: jax.Array, dilation: int) -> jax.Array:
  """Cuts [N, H, W, C] into [N * d², ceil(H / d), ceil(W / d), C], the last ones ending in zeros."""
  (n, height, width, channels), d = x.shape, dilation
  rows, columns = -(-height // d), -(-width // d)
  x = jnp.pad(x, ((0, 0), (0, rows * d - height), (0, columns * d - width), (0, 0)))
  x = x.reshape(n, rows, d, columns, d, channels).transpose(0, 2, 4, 1, 3, 5)
  return x.reshape(n * d * d, rows, columns, channels)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def conv(x: jax.Array, kernel: jax.Array, dilation: int) -> jax.Array:
  """`direct` with stride 1, its kernel gradient computed by phases where that is a GPU's.

  Zeros that fill up the phases are the convolution's own padding, and gradients of zero: they add
  nothing. The phases are copies of `x` and of the gradient; XLA would write as much to transpose
  them for the window of their size. XLA for TPUs estimates that its own way takes half the cycles.
  """
  return direct(x, kernel, dilation=dilation)


def _forward(
  x: jax.Array, kernel: jax.Array, dilation: int
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
  return conv(x, kernel, dilation), (x, kernel)


def _gradients(
  dilation: int, residuals: tuple[jax.Array, jax.Array], g: jax.Array
) -> tuple[jax.Array, jax.Array]:
  x, kernel = residuals
  gradient_x = _transposed(lambda x: direct(x, kernel, dilation=dilation), x, g)
  by_phases = functools.partial(kernel_gradient_by_phases, kernel=kernel, dilation=dilation)

  def whole(x: jax.Array, g: jax.Array) -> jax.Array:
    return _transposed(lambda kernel: direct(x, kernel, dilation=dilation), kernel, g)

  return gradient_x, lax.platform_dependent(x, g, cuda=by_phases, rocm=by_phases, default=whole)


def kernel_gradient_by_phases(
  x: jax.Array, g: jax.Array, *, kernel: jax.Array, dilation: int
) -> jax.Array:
  """The gradient of `direct` with respect to its kernel, of a result whose gradient is `g`."""
  cut = phases(x, dilation)
  return _transposed(lambda kernel: direct(cut, kernel), kernel, phases(g, dilation))


def _transposed(
  linear: Callable[[jax.Array], jax.Array], argument: jax.Array, g: jax.Array
) -> jax.Array:
  (gradient,) = jax.linear_transpose(linear, argument)(g)
  return gradient


conv.defvjp(_forward, _gradients)
