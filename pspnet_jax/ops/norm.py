"""Batch normalisation, a residual sum and ReLU as one operation with its gradient written down.

Activations are what a training step reads and writes most, so they are passed over as seldom as the
algebra allows, always in the compute dtype, while sums are taken in float32 or wider. Forward: once
for both moments, once for the result. Backward: once for the two sums of the gradient, once for the
gradient itself. docs/design/0003-batch-statistics.md has the formulas, and what is exact.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax


class Term(NamedTuple):
  """An activation and what normalises it. Of x [N, H, W, C] or, in groups, [G, n, H, W, C]."""

  x: jax.Array
  scale: jax.Array  # [C], as are those below
  bias: jax.Array
  centre: jax.Array  # any value near the mean: moments are measured from here


class Moments(NamedTuple):
  """Mean and biased variance of each channel, [1, 1, 1, C] or, in groups, [G, 1, 1, 1, C]."""

  mean: jax.Array
  var: jax.Array


class _Affine(NamedTuple):
  """The function factor * (x - mean) + bias, with coefficients of the shape of `Moments`."""

  mean: jax.Array
  factor: jax.Array
  bias: jax.Array

  def __call__(self, x: jax.Array) -> jax.Array:
    return (_wide(x) - self.mean) * self.factor + self.bias


def normalized_sum(
  terms: Sequence[Term], rest: jax.Array | None = None, *, relu: bool, epsilon: float
) -> tuple[jax.Array, list[Moments]]:
  """Computes relu(sum of scale * (x - mean) / sqrt(var + epsilon) + bias over the terms, + rest).

  Args:
    terms: one for a layer; two for the end of a residual block with a projection. Moments are those
      of all images and pixels, or of each group of images.
    rest: a shortcut, of the shape of each x, or None.
    relu: whether negative values become 0.
    epsilon: added to the variances.

  Returns:
    The sum, in the dtype of x and rounded to it once, and the moments of each term, in float32 or
    wider. Gradients flow through the sum alone, not through the moments that are returned.
  """
  return _normalized_sum(tuple(terms), rest, relu, epsilon)


def _wide(x: jax.Array) -> jax.Array:
  return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _axes(x: jax.Array) -> tuple[int, ...]:
  """The axes of images and pixels: all but those of groups and channels."""
  return tuple(range(x.ndim - 4, x.ndim - 1))


def _apart(x: Any) -> Any:
  """Returns `x`, as something of which XLA on an accelerator knows no more.

  It would compute an array that two passes need in a pass of its own and write it, in float32 where
  it can, where reading what it is made of a second time is less.
  """
  return lax.platform_dependent(x, cpu=lambda x: x, default=lax.optimization_barrier)


def _where_positive(y: jax.Array, g: jax.Array) -> jax.Array:
  """Returns g where y is positive, else 0, in float32 or wider.

  As a factor on a GPU, where XLA would write a condition out as an array; other compilers would
  write the product out, in float32.
  """
  return lax.platform_dependent(
    y,
    g,
    cuda=lambda y, g: _wide(g) * jnp.sign(jnp.maximum(y, 0)),
    default=lambda y, g: _wide(jnp.where(y > 0, g, 0)),
  )


def _moments(x: jax.Array, centre: jax.Array) -> Moments:
  """Both moments in one pass over x.

  Measured from the centre, the difference of squares does not cancel, which the plain E[x²] - E[x]²
  does when |mean| is far above the deviation.
  """
  centred = _wide(x) - centre
  offset = centred.mean(_axes(x), keepdims=True)
  square = (centred * centred).mean(_axes(x), keepdims=True)
  return Moments(centre + offset, jnp.maximum(square - offset * offset, 0))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _normalized_sum(
  terms: tuple[Term, ...], rest: jax.Array | None, relu: bool, epsilon: float
) -> tuple[jax.Array, list[Moments]]:
  return _forward(terms, rest, relu, epsilon)[0]


def _forward(
  terms: tuple[Term, ...], rest: jax.Array | None, relu: bool, epsilon: float
) -> tuple[tuple[jax.Array, list[Moments]], Any]:
  moments = [_moments(t.x, t.centre) for t in terms]
  inverses = [lax.rsqrt(m.var + epsilon) for m in moments]  # of the deviations
  affines = [
    _Affine(m.mean, t.scale * i, jnp.broadcast_to(t.bias, i.shape))
    for t, m, i in zip(terms, moments, inverses, strict=True)
  ]
  parts = [affine(t.x) for t, affine in zip(terms, affines, strict=True)]
  y = functools.reduce(jnp.add, parts if rest is None else [*parts, _wide(rest)])
  y = (jnp.maximum(y, 0) if relu else y).astype(terms[0].x.dtype)
  # What the sum was before the ReLU is computed again from a single x. With more to read than that,
  # the result itself is looked at, which the next layer keeps anyway.
  kept = None
  if rest is not None or len(terms) > 1:
    kept = y = _apart(y)
  return (y, moments), (terms, affines, inverses, kept, rest is not None)


def _backward(relu: bool, epsilon: float, residuals: Any, gradients: Any) -> Any:
  """Makes, of the gradient g before the ReLU and x̂ = (x - mean) / sqrt(var + epsilon), those of

  x: scale / sqrt(var + epsilon) * (g - mean(g) - x̂ * mean(g * x̂)),
  scale: sum(g * x̂), bias: sum(g), rest: g.
  """
  del epsilon
  terms, affines, inverses, kept, has_rest = residuals
  narrow, axes = gradients[0].dtype, _axes(terms[0].x)
  count = math.prod(terms[0].x.shape[a] for a in axes)

  def before_relu(affines: list[_Affine]) -> jax.Array:
    if not relu:
      return _wide(gradients[0])
    y = affines[0](terms[0].x) if kept is None else _wide(kept)
    return _where_positive(y, gradients[0])

  affines = _apart(affines)
  g = g_again = before_relu(affines)
  bias_gradient = g.sum(axes, keepdims=True)
  scale_gradients = []
  for term, affine, inverse in zip(terms, affines, inverses, strict=True):
    centred = _wide(term.x) - affine.mean
    scale_gradients.append((g_again * centred).sum(axes, keepdims=True) * inverse)
    g_again = _wide(_apart(g.astype(narrow)))  # only a projection reads it
  slopes = [s * i / count for s, i in zip(scale_gradients, inverses, strict=True)]
  if kept is None:
    affines, slopes, shift = _apart((affines, slopes, bias_gradient / count))
    g = before_relu(affines)
  else:
    affines, slopes, shift, g = _apart((affines, slopes, bias_gradient / count, g.astype(narrow)))
  of_terms = []
  for term, affine, slope, scale_gradient in zip(
    terms, affines, slopes, scale_gradients, strict=True
  ):
    x_gradient = affine.factor * (_wide(g) - shift - (_wide(term.x) - affine.mean) * slope)
    groups = tuple(range(scale_gradient.ndim - 1))
    of_terms.append(
      Term(
        x_gradient.astype(narrow),
        scale_gradient.sum(groups).astype(term.scale.dtype),
        bias_gradient.sum(groups).astype(term.bias.dtype),
        jnp.zeros_like(term.centre),
      )
    )
  return tuple(of_terms), g if has_rest else None


_normalized_sum.defvjp(_forward, _backward)
