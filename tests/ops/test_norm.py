import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pspnet_jax.ops.norm import Term, normalized_sum

EPSILON = 1e-5
SHAPE = (4, 5, 7, 3)
fused = functools.partial(normalized_sum, epsilon=EPSILON)


def draw(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape)


def drawn_terms(count, shape=SHAPE):
  """Terms whose numbers are all different, of means far from 0."""
  c = shape[-1]
  return [
    Term(*(jnp.asarray(v) for v in (draw(*shape, seed=i) * 3 + 2, *draw(3, c, seed=9 + i))))
    for i in range(count)
  ]


def plain(terms, rest, *, relu):
  """The definition, whose gradient JAX derives."""
  total, moments = 0, []
  for x, scale, bias, _ in terms:
    axes = tuple(range(x.ndim - 4, x.ndim - 1))
    mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    total += (x - mean) / jnp.sqrt(var + EPSILON) * scale + bias
    moments.append((mean, var))
  total = total if rest is None else total + rest
  return jax.nn.relu(total) if relu else total, moments


@pytest.mark.parametrize('relu', [True, False])
@pytest.mark.parametrize('with_rest', [True, False])
@pytest.mark.parametrize(('count', 'shape'), [(1, SHAPE), (2, SHAPE), (2, (2, 2, *SHAPE[1:]))])
def test_equals_the_plain_form_with_its_gradients_in_float64(count, shape, with_rest, relu, x64):
  terms, cotangent = drawn_terms(count, shape), draw(*shape, seed=5)
  rest = jnp.asarray(draw(*shape, seed=6)) if with_rest else None

  def run(form):
    def f(terms, rest):
      y, moments = form(terms, rest, relu=relu)
      return (y * cotangent).sum(), (y, [tuple(m) for m in moments])

    which = (0, 1) if with_rest else 0
    return jax.jit(jax.value_and_grad(f, which, has_aux=True))(terms, rest)

  ours, theirs = run(fused), run(plain)
  assert (np.asarray(theirs[0][1][0]) == 0).mean() > 0.2 or not relu
  for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def bfloat16_errors(form, terms, rest, cotangent):
  """Greatest errors against float64 of the sum and of the gradient of the first x."""
  exact = jax.tree.map(lambda v: v.astype(jnp.float64), (terms, rest))

  def gradient(form, terms, rest):
    y, pullback = jax.vjp(lambda x: form([terms[0]._replace(x=x), *terms[1:]], rest), terms[0].x)
    return y, pullback(cotangent.astype(y.dtype))[0]

  gradient = jax.jit(gradient, static_argnums=0)
  results = gradient(form, terms, rest)
  wanted = gradient(lambda t, r: plain(t, r, relu=True)[0], *exact)
  kept = np.asarray((wanted[0] > 0) == (results[0] > 0))  # else the sum is 0 but for rounding
  assert kept.mean() > 0.99
  return [
    float(np.abs(np.where(kept, np.asarray(a, np.float64) - b, 0)).max() / np.abs(b).max())
    for a, b in zip(results, wanted, strict=True)
  ]


def in_steps(terms, rest):
  """Each layer in float32, rounded to bfloat16, and then the sum in bfloat16."""
  wide = [t._replace(x=t.x.astype(jnp.float32)) for t in terms]
  parts = [plain([t], None, relu=False)[0].astype(jnp.bfloat16) for t in wide]
  return jax.nn.relu(functools.reduce(jnp.add, parts) + (0 if rest is None else rest))


@pytest.mark.parametrize(('count', 'with_rest'), [(1, False), (1, True), (2, False)])
def test_bfloat16_is_rounded_once(count, with_rest, x64):
  shape = (8, 12, 12, 16)
  low = [
    Term(t.x.astype(jnp.bfloat16), *(v.astype(jnp.float32) for v in t[1:]))
    for t in drawn_terms(count, shape)
  ]
  rest = jnp.asarray(draw(*shape, seed=6), jnp.bfloat16) if with_rest else None
  cotangent = jnp.asarray(draw(*shape, seed=5), jnp.bfloat16)
  ours = bfloat16_errors(lambda t, r: fused(t, r, relu=True)[0], low, rest, cotangent)
  steps = bfloat16_errors(in_steps, low, rest, cotangent)
  # Half a unit in the last of 8 bits of what is largest, and a little float32.
  assert max(ours) <= 2**-8 * 1.01
  assert all(a <= b * 1.01 for a, b in zip(ours, steps, strict=True))


@pytest.mark.parametrize('count', [1, 2])
def test_no_wide_copy_of_an_activation_is_kept_for_the_gradient(count):
  terms = [t._replace(x=t.x.astype(jnp.bfloat16)) for t in drawn_terms(count)]
  _, pullback = jax.vjp(lambda t: fused(t, None, relu=True)[0], terms)
  kept = [v for v in jax.tree.leaves(pullback) if v.size >= terms[0].x.size]
  assert kept and {v.dtype for v in kept} == {jnp.dtype(jnp.bfloat16)}
  assert len(kept) <= (1 if count == 1 else count + 1)  # what is summed, and the sum


def test_moments_of_a_constant_are_exact_and_its_gradient_finite():
  term = Term(jnp.full(SHAPE, 1234.567), jnp.ones(3), jnp.zeros(3), jnp.zeros(3))
  (y, [moments]), pullback = jax.vjp(lambda t: fused([t], None, relu=True), term)
  assert (np.asarray(moments.var) >= 0).all() and np.isfinite(y).all()
  zeros = [type(moments)(*(jnp.zeros_like(m) for m in moments))]
  (gradient,) = pullback((jnp.ones_like(y), zeros))
  assert all(np.isfinite(v).all() for v in gradient)
