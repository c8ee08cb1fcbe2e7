"""Convolutions of NHWC arrays, as XLA runs them fastest on the platform they are compiled for.

That platform is known when a program is lowered, not while it is traced: a process with a GPU may
compile for its CPU, and one without may export for a TPU.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import lax

from pspnet_jax.ops import dilated, winograd


def computed_once(x: jax.Array) -> jax.Array:
  """Returns `x` and has it computed only once, given the options of `compiler_options.for_network`.

  XLA on CPU takes sums to be cheap and computes them anew for each of their uses; for a residual
  block that means its whole stage so far. Without this a PSPNet-101 takes a quarter longer.
  Compilers for accelerators weigh it themselves.
  """
  return lax.platform_dependent(x, cpu=lax.optimization_barrier, default=lambda x: x)


def conv(x: jax.Array, kernel: jax.Array, *, stride: int = 1, dilation: int = 1) -> jax.Array:
  """Convolution of [N, H, W, I] with an odd-sided [k, k, I, O], zero padding `dilation * (k // 2)`.

  It pads as torch does: an input of H rows gives ceil(H / stride) rows. A 1×1 convolution is
  computed as a matrix product, which XLA on CPU runs faster, and a wide 3×3 one takes fewer
  multiplications there (`winograd`). Accelerators choose for themselves, but GPUs are told how to
  compute the kernel gradient of a dilated one (`dilated`).
  """
  if kernel.shape[:2] == (1, 1):
    return _pointwise(x[:, ::stride, ::stride], kernel[0, 0])
  if stride > 1 and dilation % stride == 0:  # it reads no pixel between the strides
    x, stride, dilation = x[:, ::stride, ::stride], 1, dilation // stride
  plain = (
    functools.partial(dilated.conv, dilation=dilation)
    if stride == 1 and dilation > 1
    else functools.partial(dilated.direct, stride=stride, dilation=dilation)
  )
  # Only where there is a choice: convolutions within one are not what XLA on CPU fuses best.
  if stride > 1 or not winograd.worthwhile(x.shape, kernel.shape, dilation):
    return plain(x, kernel)
  by_winograd = functools.partial(winograd.conv3x3, dilation=dilation)
  return lax.platform_dependent(x, kernel, cpu=by_winograd, default=plain)


def _product(axes: str, x: jax.Array, y: jax.Array) -> jax.Array:
  """A matrix product. XLA on CPU is twice as fast with bfloat16 if it is asked for float32."""
  wide = jnp.promote_types(x.dtype, jnp.float32)
  if wide == x.dtype:
    return jnp.einsum(axes, x, y)

  def asked_for_wide(x: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.einsum(axes, x, y, preferred_element_type=wide).astype(x.dtype)

  plain = functools.partial(jnp.einsum, axes)
  return lax.platform_dependent(x, y, cpu=asked_for_wide, default=plain)


@jax.custom_vjp
def _pointwise(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """Multiplies [N, H, W, I] by [I, O]."""
  return _product('nhwi,io->nhwo', x, kernel)


def _pointwise_gradients(
  residuals: tuple[jax.Array, jax.Array], g: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """JAX's own gradients, but with the smaller factor first: XLA on CPU transposes the first one."""
  x, kernel = residuals
  gradient = (
    _product('nhwi,nhwo->io', x, g)
    if x.shape[-1] <= g.shape[-1]
    else _product('nhwo,nhwi->oi', g, x).T
  )
  return _product('nhwo,io->nhwi', g, kernel), gradient


_pointwise.defvjp(lambda x, kernel: (_pointwise(x, kernel), (x, kernel)), _pointwise_gradients)
