import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from torch import nn

from pspnet_jax.errors import UserError
from pspnet_jax.models.layers import (
  BatchNorm,
  Conv,
  dropout,
  kaiming_fan_out,
  normalized,
  torch_uniform,
)
from tests.torch_pspnet import nchw, nhwc

CHANNELS = 5


def draw(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape)


def batch_norms(dtype):
  """The same layer twice, with parameters and running statistics that are all different."""
  ours, theirs = BatchNorm(CHANNELS), nn.BatchNorm2d(CHANNELS).to(torch.float64)
  pairs = [('scale', 'weight'), ('bias', 'bias'), ('mean', 'running_mean'), ('var', 'running_var')]
  for seed, (name, torch_name) in enumerate(pairs):
    value = draw(CHANNELS, seed=seed) ** 2 + 0.5
    setattr(ours, name, type(getattr(ours, name))(jnp.asarray(value, dtype)))
    getattr(theirs, torch_name).data.copy_(torch.tensor(value))
  return ours, theirs


def test_batch_norm_matches_torch_in_float64(x64):
  ours, theirs = batch_norms(jnp.float64)
  x, cotangent = draw(2, 7, 9, CHANNELS) * 3 + 1, draw(2, 7, 9, CHANNELS, seed=9)
  np.testing.assert_allclose(ours(x, train=False), nhwc(theirs.eval()(nchw(x))), rtol=1e-12)

  def f(scale, bias, x):
    layer = BatchNorm(CHANNELS)
    layer.scale, layer.bias = nnx.Param(scale), nnx.Param(bias)
    layer.mean, layer.var = nnx.BatchStat(ours.mean[...]), nnx.BatchStat(ours.var[...])
    return layer(x, train=True), (layer.mean[...], layer.var[...])

  y, pullback, (mean, var) = jax.vjp(f, ours.scale[...], ours.bias[...], x, has_aux=True)
  gradients = pullback(jnp.asarray(cotangent))
  old_var, leaf = theirs.running_var.clone(), nchw(x).requires_grad_()
  y_torch = theirs.train()(leaf)
  y_torch.backward(nchw(cotangent))
  np.testing.assert_allclose(y, nhwc(y_torch), atol=1e-12)
  for gradient, tensor in zip(gradients, (theirs.weight, theirs.bias), strict=False):
    np.testing.assert_allclose(gradient, tensor.grad, atol=1e-12)
  np.testing.assert_allclose(gradients[2], nhwc(leaf.grad), atol=1e-12)
  np.testing.assert_allclose(mean, theirs.running_mean, rtol=1e-13)
  n = x[..., 0].size  # torch stores the unbiased variance
  biased = 0.9 * old_var + (theirs.running_var - 0.9 * old_var) * (n - 1) / n
  np.testing.assert_allclose(var, biased, rtol=1e-13)


def variance_error(ratio, running_mean):
  """Relative error in float32 of the batch variance of values with mean / deviation = ratio."""
  x = (draw(4, 16, 16, 1) + ratio).astype(np.float32)
  layer = BatchNorm(1)
  layer.mean[...] = jnp.full(1, running_mean, jnp.float32)
  layer(jnp.asarray(x), train=True)
  exact = x.astype(np.float64).var()
  return abs((float(layer.var[0]) - 0.9) / 0.1 - exact) / exact


def test_variance_does_not_cancel_around_a_running_mean_that_knows():
  # 1e-4 deviations: plain E[x²] - E[x]² has an error of about 1e4² · 6e-8 = 600 %.
  assert variance_error(ratio=1e4, running_mean=0.99997e4) < 1e-5


@pytest.mark.parametrize(('ratio', 'bound'), [(1, 1e-5), (3, 1e-4), (10, 1e-3)])
def test_variance_before_the_running_mean_has_settled(ratio, bound):
  # At the start the running mean is 0 and the error that of E[x²] - E[x]², as in Flax: ratio² times
  # the rounding of a sum of 1,024 float32 numbers.
  assert variance_error(ratio, running_mean=0) < bound


def test_variance_of_a_constant_is_never_negative():
  layer = BatchNorm(3)
  y = layer(jnp.full((2, 5, 7, 3), 1234.567), train=True)
  assert np.isfinite(y).all() and (np.asarray(layer.var[...]) >= 0.9 - 1e-6).all()


def test_a_single_value_a_channel_has_no_variance_to_train_with():
  """One image at the 1×1 bin, where torch refuses too."""
  layer, one = BatchNorm(3), jnp.full((1, 1, 1, 3), 7.0)
  with pytest.raises(UserError, match='one value a channel in training, which has no variance: '):
    layer(one, train=True)
  with pytest.raises(UserError):  # traced, as a training step is
    jax.eval_shape(lambda x: layer(x, train=True), one)
  layer(jnp.tile(one, (1, 2, 1, 1)), train=True)
  before = np.asarray(layer.var[...])
  layer(one, train=False)
  layer.fixed = True
  layer(one, train=True)
  np.testing.assert_array_equal(layer.var[...], before)


@pytest.mark.parametrize('train', [True, False])
def test_relu_and_a_shortcut_change_nothing_else(train, x64):
  x, shortcut = jnp.asarray(draw(2, 4, 6, CHANNELS)), jnp.asarray(draw(2, 4, 6, CHANNELS, seed=1))
  layer, apart = batch_norms(jnp.float64)[0], batch_norms(jnp.float64)[0]
  y = normalized([(layer, x)], shortcut, train=train, relu=True)
  np.testing.assert_allclose(y, jax.nn.relu(apart(x, train=train) + shortcut), atol=1e-14)
  np.testing.assert_array_equal(layer.var[...], apart.var[...])


def test_a_layer_with_fixed_statistics_joins_a_sum_as_it_is(x64):
  x = jnp.asarray(draw(2, 4, 6, CHANNELS))
  first, fixed = batch_norms(jnp.float64)[0], batch_norms(jnp.float64)[0]
  fixed.fixed = True
  wanted = batch_norms(jnp.float64)[0](x, train=True) + fixed(x, train=False)
  before = fixed.mean[...]
  y = normalized([(first, x), (fixed, x)], train=True, relu=False)
  np.testing.assert_allclose(y, wanted, atol=1e-14)
  np.testing.assert_array_equal(fixed.mean[...], before)
  assert (first.mean[...] != before).any()


def test_groups_of_images_are_normalised_by_themselves(x64):
  x, cotangent = draw(6, 4, 5, CHANNELS) * 3 + 1, draw(6, 4, 5, CHANNELS, seed=9)
  x += np.arange(6)[:, None, None, None]  # no two groups alike
  start, _ = batch_norms(jnp.float64)

  def run(parts, group):
    def f(x, scale, bias):
      total, stats = 0, []
      for rows in parts:
        layer, _ = batch_norms(jnp.float64)
        layer.scale, layer.bias, layer.ghost_batch_size = nnx.Param(scale), nnx.Param(bias), group
        total += (layer(x[rows], train=True, relu=True) * cotangent[rows]).sum()
        stats.append((layer.mean[...], layer.var[...]))
      return total, stats

    arguments = jnp.asarray(x), start.scale[...], start.bias[...]
    return jax.value_and_grad(f, argnums=(0, 1, 2), has_aux=True)(*arguments)

  (value, [of_groups]), gradients = run([slice(0, 6)], group=2)
  (wanted, alone), wanted_gradients = run([slice(i, i + 2) for i in (0, 2, 4)], group=0)
  np.testing.assert_allclose(value, wanted, rtol=1e-12)
  for a, b in zip(gradients, wanted_gradients, strict=True):
    np.testing.assert_allclose(a, b, atol=1e-12)
  for a, b in zip(of_groups, zip(*alone, strict=True), strict=True):  # means over the groups
    np.testing.assert_allclose(a, np.mean(b, 0), rtol=1e-13)


def test_groups_that_cannot_be_are_refused():
  layer = BatchNorm(3)
  layer.ghost_batch_size = 4
  with pytest.raises(UserError, match=r'6 images .* groups of 4 .*: change .*ghost'):
    layer(jnp.ones((6, 2, 2, 3)), train=True)
  layer(jnp.ones((6, 2, 2, 3)), train=False)
  layer.ghost_batch_size = 1
  layer(jnp.ones((6, 2, 2, 3)), train=True)
  with pytest.raises(UserError, match='one value a channel'):
    layer(jnp.ones((6, 1, 1, 3)), train=True)


def test_bfloat16_keeps_float32_statistics():
  layer = BatchNorm(CHANNELS)
  x = jnp.asarray(draw(2, 8, 8, CHANNELS) + 5, jnp.bfloat16)
  y = layer(x, train=True)
  assert y.dtype == jnp.bfloat16 and layer.mean[...].dtype == layer.var[...].dtype == jnp.float32
  mean = np.asarray(x, np.float64).mean((0, 1, 2))
  np.testing.assert_allclose(layer.mean[...], 0.1 * mean, rtol=1e-6)


def test_new_statistics_replace_the_old_ones():
  old = np.zeros(CHANNELS, np.float32)  # NumPy, which an assignment in place would change
  layer = BatchNorm(CHANNELS)
  layer.mean = nnx.BatchStat(old)
  layer(jnp.asarray(draw(2, 4, 4, CHANNELS)), train=True)
  assert layer.mean[...].all() and not old.any()


def test_evaluation_leaves_statistics_alone():
  layer = BatchNorm(CHANNELS)
  before = np.asarray(layer.mean[...]), np.asarray(layer.var[...])
  layer(jnp.asarray(draw(2, 4, 4, CHANNELS)), train=False)
  np.testing.assert_array_equal(before, (layer.mean[...], layer.var[...]))


@pytest.mark.parametrize('use_bias', [True, False])
def test_conv_computes_in_the_dtype_of_its_input(use_bias):
  layer = Conv(3, 4, 3, use_bias=use_bias, rngs=nnx.Rngs(0))
  assert layer.kernel[...].dtype == jnp.float32
  assert layer(jnp.ones((1, 4, 4, 3), jnp.bfloat16)).dtype == jnp.bfloat16
  assert (layer.bias is not None) == use_bias


def test_initial_values_follow_the_published_distributions():
  kernel = np.asarray(kaiming_fan_out(jax.random.key(0), (3, 3, 64, 128)))
  assert kernel.std() == pytest.approx(np.sqrt(2 / (9 * 128)), rel=0.01)
  assert abs(kernel.mean()) < 1e-3
  uniform = np.asarray(torch_uniform(9 * 64)(jax.random.key(0), (3, 3, 64, 128)))
  reference = nn.Conv2d(64, 128, 3).weight.detach()
  assert uniform.std() == pytest.approx(float(reference.std()), rel=0.01)
  assert np.abs(uniform).max() == pytest.approx(float(reference.abs().max()), rel=1e-3)


@pytest.mark.parametrize('kind', ['channel', 'element'])
def test_dropout_keeps_the_mean_and_drops_its_share(kind):
  x = jnp.ones((64, 5, 7, 64))
  y = np.asarray(dropout(x, 0.25, kind, jax.random.key(0)))
  assert set(np.unique(y)) == {0, np.float32(1 / 0.75)}
  assert y.mean() == pytest.approx(1, abs=0.03)
  whole_channels = (y == y[:, :1, :1]).all((1, 2))  # [N, C]
  assert whole_channels.all() if kind == 'channel' else whole_channels.mean() < 0.01


def test_dropout_is_a_function_of_its_key():
  x = jnp.ones((8, 2, 2, 64))
  first, again, other = (dropout(x, 0.5, 'channel', jax.random.key(k)) for k in (0, 0, 1))
  np.testing.assert_array_equal(first, again)
  assert (first != other).any()
  assert dropout(x, 0.0, 'channel', jax.random.key(0)) is x
  assert dropout(x.astype(jnp.bfloat16), 0.5, 'element', jax.random.key(0)).dtype == jnp.bfloat16


def test_a_layer_with_another_epsilon_trains_with_it():
  class Wide(BatchNorm):
    epsilon = 1.0

  x = jax.random.normal(jax.random.key(0), (4, 8, 8, 3))
  y = Wide(3)(x, train=True)
  np.testing.assert_allclose(y.std((0, 1, 2)), 1 / np.sqrt(1 + 1 / x.var((0, 1, 2))), rtol=1e-4)
