"""Pooling and its gradients are torch's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch.nn.functional as F  # noqa: N812

from pspnet_jax.ops import pool
from pspnet_jax.ops.pool import adaptive_avg_pool, adaptive_max_pool
from tests.ops.arrays import BINS, EPS, draw, error, precision
from tests.torch_pspnet import nchw, nhwc

# 60 and 90 divide by 6; 61 and 45 give overlapping cells; the others repeat cells.
FEATURES = [(60, 60), (61, 45), (90, 8), (7, 9), (5, 3), (1, 4), (1, 1)]


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
@pytest.mark.parametrize('size', FEATURES)
@pytest.mark.parametrize('kind', ['avg', 'max'])
def test_adaptive_pooling_matches_torch(kind, size, dtype):
  x = draw(2, *size, 5, dtype=dtype)
  pool = {'avg': adaptive_avg_pool, 'max': adaptive_max_pool}[kind]
  theirs = {'avg': F.adaptive_avg_pool2d, 'max': F.adaptive_max_pool2d}[kind]
  with precision(dtype):
    levels = jax.jit(lambda x: pool(x, BINS))(x)
  exact = nchw(x.astype(np.float64))  # torch's own float32 sums are no closer to it than ours
  for b, level in zip(BINS, levels, strict=True):
    assert level.dtype == dtype and level.shape == (2, b, b, 5)
    assert error(level, nhwc(theirs(exact, b))) <= (EPS[dtype] if kind == 'avg' else 0)


@pytest.mark.parametrize('size', [(7, 9), (6, 12)])
@pytest.mark.parametrize('kind', ['avg', 'max'])
def test_adaptive_pooling_gradients_match_torch(kind, size, x64):
  x = draw(2, *size, 3)
  weights = [draw(2, b, b, 3, seed=b) for b in BINS]
  pool = {'avg': adaptive_avg_pool, 'max': adaptive_max_pool}[kind]
  theirs = {'avg': F.adaptive_avg_pool2d, 'max': F.adaptive_max_pool2d}[kind]

  def loss(x):
    return sum((w * y).sum() for w, y in zip(weights, pool(x, BINS), strict=True))

  leaf = nchw(x).requires_grad_()
  sum((nchw(w) * theirs(leaf, b)).sum() for b, w in zip(BINS, weights, strict=True)).backward()
  assert error(jax.jit(jax.grad(loss))(x), nhwc(leaf.grad)) < 1e-14


@pytest.mark.parametrize('size', [(61, 45), (60, 60)])
def test_adaptive_avg_pool_of_bfloat16_rounds_only_the_result(size):
  x = jnp.asarray(draw(2, *size, 4) + 3, jnp.bfloat16)
  exact = adaptive_avg_pool(x.astype(jnp.float32), BINS)
  for level, reference in zip(adaptive_avg_pool(x, BINS), exact, strict=True):
    assert level.dtype == jnp.bfloat16
    np.testing.assert_allclose(level.astype(jnp.float32), reference, rtol=2**-8)


@pytest.mark.parametrize('size', [(8, 6), (7, 6), (8, 5), (5, 7), (1, 1), (1, 2)])
def test_avg_pool_matches_torch_where_an_odd_edge_cuts_a_window_off(size, x64):
  def theirs(x):
    return F.avg_pool2d(x, 2, 2, ceil_mode=True, count_include_pad=False)

  x = draw(2, *size, 3)
  leaf = nchw(x).requires_grad_()
  expected = theirs(leaf)
  weights = draw(2, *expected.shape[2:], 3, seed=1)
  (nchw(weights) * expected).sum().backward()
  assert error(jax.jit(pool.avg_pool)(x), nhwc(expected)) < 1e-15
  gradient = jax.jit(jax.grad(lambda x: (weights * pool.avg_pool(x)).sum()))(x)
  assert error(gradient, nhwc(leaf.grad)) < 1e-15


def test_avg_pool_of_bfloat16_rounds_only_the_result():
  x = jnp.asarray(draw(2, 7, 5, 4) + 3, jnp.bfloat16)
  exact = pool.avg_pool(x.astype(jnp.float32))
  np.testing.assert_array_equal(pool.avg_pool(x), exact.astype(jnp.bfloat16))


ON_EACH_PLATFORM = pytest.mark.parametrize(
  'max_pool', [pool.max_pool, pool._max_of_windows, pool._max_of_nine]
)


@ON_EACH_PLATFORM
@pytest.mark.parametrize('size', [(8, 8), (9, 7), (2, 1), (1, 1)])
@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_max_pool_matches_torch(size, dtype, max_pool):
  x = jnp.asarray(draw(2, *size, 3), dtype)
  theirs = F.max_pool2d(nchw(np.asarray(x, np.float32)), 3, 2, 1)
  np.testing.assert_array_equal(np.asarray(max_pool(x), np.float32), nhwc(theirs))


@ON_EACH_PLATFORM
@pytest.mark.parametrize('size', [(9, 7), (6, 8), (1, 2)])
def test_max_pool_gradient_goes_to_the_first_maximum(size, max_pool, x64):
  x = np.round(draw(2, *size, 3))  # many ties
  leaf = nchw(x).requires_grad_()
  (F.max_pool2d(leaf, 3, 2, 1) ** 2).sum().backward()
  gradient = jax.grad(lambda x: (max_pool(x) ** 2).sum())(x)
  np.testing.assert_array_equal(gradient, nhwc(leaf.grad))


@ON_EACH_PLATFORM
def test_max_pool_hides_no_nan(max_pool):
  x = draw(1, 9, 9, 1)
  x[0, 4, 4] = np.nan
  expected = np.isnan(nhwc(F.max_pool2d(nchw(x), 3, 2, 1)))
  np.testing.assert_array_equal(np.isnan(max_pool(jnp.asarray(x))), expected)
