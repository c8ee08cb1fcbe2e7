"""3×3 convolutions by Winograd's F(2×2, 3×3): Lavin and Gray 2016, docs/design/0005-winograd.md.

The image is cut into overlapping tiles of 4×4 pixels, and each tile gives 2×2 pixels of the result
with 16 multiplications instead of 36. The matrices Bᵀ, G and Aᵀ of the paper stand around the
products and are applied along one axis at a time:

    Bᵀ = 1  0 -1  0      G =  1   0   0      Aᵀ = 1  1  1  0
         0  1  1  0           ½   ½   ½           0  1 -1 -1
         0 -1  1  0           ½  -½   ½
         0  1  0 -1           0   0   1

With dilation d a tile takes every d-th pixel, and d tiles are interlaced: row 2dt + dk + p of the
result is row k (0 or 1) of tile t in phase p (0 to d-1).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jax import lax

Parts: TypeAlias = list[list[jax.Array]]  # [row][column] of a tile


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def conv3x3(x: jax.Array, kernel: jax.Array, dilation: int = 1) -> jax.Array:
  """Convolution of [N, H, W, I] with [3, 3, I, O], zero padding `dilation`: [N, H, W, O].

  It is computed in float32 or wider, and so are its gradients, which take as few multiplications.
  The tiles are kept for them: four times the memory of `x`.
  """
  return _forward(x, kernel, dilation)[0]


def worthwhile(image: Sequence[int], kernel: Sequence[int], dilation: int) -> bool:
  """Whether Winograd's algorithm is faster here than a direct convolution, on CPU.

  It is not where channels are so few that adding takes longer than multiplying, nor where much of
  the tiles is padding.
  """
  if kernel[:2] != (3, 3) or min(kernel[2:]) < 256:
    return False
  tiled = math.prod(2 * dilation * _tiles(side, dilation) for side in image[1:3])
  return 4 * tiled <= 6 * image[1] * image[2]  # multiplications a channel; a direct one takes 9


# Jitted, though within the network's jit: blocks of the same shapes are traced once.
@functools.partial(jax.jit, static_argnums=2)
def _forward(
  x: jax.Array, kernel: jax.Array, dilation: int
) -> tuple[jax.Array, tuple[Parts, Parts]]:
  tiles = _along_both_axes(x, dilation, _input)
  parts = [_kernel_parts(row) for row in _kernel_parts(_widen(kernel))]
  return _multiply(tiles, parts, x.shape).astype(x.dtype), (tiles, parts)


@functools.partial(jax.jit, static_argnums=0)
def _gradients(
  dilation: int, residuals: tuple[Parts, Parts], g: jax.Array
) -> tuple[jax.Array, jax.Array]:
  tiles, parts = residuals
  order = (3, 1, 2, 0)  # the parts of a kernel that is turned upside down
  turned = [[parts[i][j].T for j in order] for i in order]
  gradient_x = _multiply(_along_both_axes(g, dilation, _input), turned, g.shape)
  products = [
    [jnp.einsum('pi,po->io', _flat(a), _flat(b)) for a, b in zip(*rows, strict=True)]
    for rows in zip(tiles, _along_both_axes(g, dilation, _result_gradient), strict=True)
  ]
  columns = [_kernel_gradient(row) for row in products]  # [4][3]
  rows = [_kernel_gradient(column) for column in zip(*columns, strict=True)]  # [3][3], transposed
  gradient = jnp.stack([jnp.stack(row) for row in zip(*rows, strict=True)])
  return gradient_x.astype(g.dtype), gradient.astype(g.dtype)


conv3x3.defvjp(_forward, _gradients)


def _multiply(tiles: Parts, kernel: Parts, shape: tuple[int, ...]) -> jax.Array:
  """Makes the sixteen products, and from them the result for an image of that shape."""
  products = [
    [tile @ part for tile, part in zip(*rows, strict=True)]
    for rows in zip(tiles, kernel, strict=True)
  ]
  rows = [_result(row, 3, shape[2]) for row in products]
  return _result(rows, 1, shape[1])


def _widen(x: jax.Array) -> jax.Array:
  return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _flat(x: jax.Array) -> jax.Array:
  """Puts all pixels along one axis: XLA on CPU is slower in summing over several."""
  return x.reshape(-1, x.shape[-1])


def _tiles(side: int, dilation: int) -> int:
  """How many tiles of one phase lie along a side."""
  return -(-side // (2 * dilation))


def _along_both_axes(
  x: jax.Array, dilation: int, cut: Callable[[jax.Array, int, int], list[jax.Array]]
) -> Parts:
  """`cut` along both axes: [4][4] of [N, T, d, U, d, C], T and U tiles in d phases each."""
  return [cut(row, 3, dilation) for row in cut(_widen(x), 1, dilation)]


def _pairs(x: jax.Array, axis: int, dilation: int) -> tuple[jax.Array, jax.Array]:
  """Pixels 0 and 1 of each pair along an axis of whole tiles, [..., T, d, ...] each."""
  x = x.reshape(*x.shape[:axis], -1, 2, dilation, *x.shape[axis + 1 :])
  first, second = (lax.index_in_dim(x, k, axis + 1, keepdims=False) for k in range(2))
  return first, second


def _padded(x: jax.Array, axis: int, before: int, length: int) -> jax.Array:
  padding = [(0, 0)] * x.ndim
  padding[axis] = (before, length - before - x.shape[axis])
  return jnp.pad(x, padding)


def _input(x: jax.Array, axis: int, dilation: int) -> list[jax.Array]:
  """Multiplies by Bᵀ: tiles have four pixels, and the last two are also the next tile's first."""
  tiles = _tiles(x.shape[axis], dilation)
  pairs = _pairs(_padded(x, axis, dilation, 2 * dilation * (tiles + 1)), axis, dilation)
  first, second = (lax.slice_in_dim(pair, 0, tiles, axis=axis) for pair in pairs)
  third, fourth = (lax.slice_in_dim(pair, 1, tiles + 1, axis=axis) for pair in pairs)
  return [first - third, second + third, third - second, second - fourth]


def _kernel_parts(kernel: jax.Array) -> list[jax.Array]:
  """Multiplies by G along the first axis."""
  outer, middle = (kernel[0] + kernel[2]) / 2, kernel[1] / 2
  return [kernel[0], outer + middle, outer - middle, kernel[2]]


def _kernel_gradient(parts: Sequence[jax.Array]) -> list[jax.Array]:
  """Multiplies by the transpose of G; the last part has its sign changed by `_result_gradient`."""
  first, second, third, fourth = parts
  outer, middle = (second + third) / 2, (second - third) / 2
  return [first + outer, middle, outer - fourth]


def _result(parts: Sequence[jax.Array], axis: int, side: int) -> jax.Array:
  """Multiplies by Aᵀ along one axis: four of [..., T, d, ...] to [..., side, ...]."""
  first, second, third, fourth = parts
  pair = jnp.stack([first + second + third, second - third - fourth], axis + 1)
  whole = pair.reshape(*pair.shape[:axis], -1, *pair.shape[axis + 3 :])
  return lax.slice_in_dim(whole, 0, side, axis=axis)


def _result_gradient(g: jax.Array, axis: int, dilation: int) -> list[jax.Array]:
  """Multiplies by A, the transpose of `_result`, but for the sign of the last part."""
  length = 2 * dilation * _tiles(g.shape[axis], dilation)
  first, second = _pairs(_padded(g, axis, 0, length), axis, dilation)
  return [first, first + second, first - second, second]
