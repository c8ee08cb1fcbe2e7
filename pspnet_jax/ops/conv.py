"""Convolutions of NHWC arrays, as XLA runs them fastest."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from pspnet_jax.ops import winograd


def computed_once(x: jax.Array) -> jax.Array:
  """`x`, computed once, in a program compiled with `compiler_options.for_network`.

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
