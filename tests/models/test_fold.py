"""Batch normalisation folded into the kernels computes what it computed beside them."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pspnet_jax.models.network import Network
from tests.conftest import TINY
from tests.models.heads import AsppNet, FlaxNormNet
from tests.torch_pspnet import random_arrays

OPTIONS = {
  'bottlenecks': {'depth': 50},
  'basic blocks, 7x7': {'stem_channels': (8,), 'align_corners': False},
  'no pyramid': {'bins': ()},
  'no reduction': {'reduce_dimension': False, 'pooling': 'max'},
}


def logits_of(options, dtype):
  """Logits without and with folding, no parameter or statistic trivial."""
  network = Network(5, dtype=dtype, **dict(TINY, **options))
  wide = jnp.promote_types(dtype, jnp.float32)
  params = random_arrays(network.param_shapes, 0, wide)
  stats = random_arrays(network.batch_stat_shapes, 1, wide)
  image = np.random.default_rng(2).normal(size=(2, 41, 33, 3)).astype(wide)
  apply = [jax.jit(n.apply) for n in (network, network.folded())]
  plain, _ = apply[0](params, stats, image)
  folded, nothing = apply[1](*network.fold(params, stats), image)
  assert nothing == {} and folded.keys() == {'logits'}
  return np.asarray(plain['logits']), np.asarray(folded['logits'])


def error(ours, theirs) -> float:
  assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
  return np.abs(ours - theirs).max() / np.abs(theirs).max()


@pytest.mark.parametrize('name', OPTIONS)
def test_folded_logits_are_the_same(name, x64):
  plain, folded = logits_of(OPTIONS[name], 'float64')
  assert error(folded, plain) < 1e-13


def test_float32_differs_by_rounding():
  plain, folded = logits_of({}, 'float32')
  assert error(folded, plain) < 2e-6


def test_bfloat16_is_as_near_to_float32_as_unfolded():
  exact, _ = logits_of({}, 'float32')
  plain, folded = logits_of({}, 'bfloat16')
  assert 0 < error(folded, exact) < max(1.5 * error(plain, exact), 15 * 2**-9)


def test_kernels_of_a_pspnet_are_kept_as_they_are_used_and_nothing_else_is_narrowed():
  network = Network(5, **TINY, dtype='bfloat16')
  shapes = jax.eval_shape(network.fold, network.param_shapes, network.batch_stat_shapes)
  assert shapes == (network.folded().param_shapes, {})
  assert {x.dtype for x in shapes[0].values() if x.ndim == 4} == {jnp.dtype('bfloat16')}
  assert {x.dtype for x in shapes[0].values() if x.ndim < 4} == {jnp.dtype('float32')}
  own = Network(5, model=AsppNet, **TINY, dtype='bfloat16')
  params, _ = jax.eval_shape(own.fold, own.param_shapes, own.batch_stat_shapes)
  assert {x.dtype for x in params.values()} == {jnp.dtype('float32')}


def test_a_folded_network_holds_nothing_it_does_not_use():
  network = Network(5, **TINY)
  folded, statistics = jax.eval_shape(network.fold, network.param_shapes, network.batch_stat_shapes)
  assert not statistics
  assert folded.keys() == network.folded().param_shapes.keys()
  assert not network.folded().batch_stat_shapes
  assert not [name for name in folded if name.startswith('aux') or name.endswith('scale')]
  assert network.batch_stat_shapes and 'aux_head/classifier/conv/bias' in network.param_shapes


STYLES = ('plain', 'summed', 'preactivated')


def head_logits(model, dtype, **options):
  """Logits of a network with a head of one's own, before and after folding."""
  network = Network(5, model=model, dtype=dtype, **TINY, **options)
  params = random_arrays(network.param_shapes, 0, dtype)
  stats = random_arrays(network.batch_stat_shapes, 1, dtype)
  image = np.random.default_rng(2).normal(size=(2, 41, 33, 3)).astype(dtype)
  plain, _ = jax.jit(network.apply)(params, stats, image)
  arrays = network.fold(params, stats)
  folded, _ = jax.jit(network.folded().apply)(*arrays, image)
  return np.asarray(plain['logits']), np.asarray(folded['logits']), arrays


@pytest.mark.parametrize('style', STYLES)
@pytest.mark.parametrize(('dtype', 'tolerance'), [('float32', 1e-5), ('float64', 1e-12)])
def test_a_head_of_ones_own_is_the_same_folded(style, dtype, tolerance):
  # Rounding: some twenty layers, each 2^-24 (2^-53) of its values.
  with jax.enable_x64(dtype == 'float64'):
    plain, folded, (params, stats) = head_logits(AsppNet, dtype, style=style)
  assert error(folded, plain) < tolerance
  kept = {name for name in (*params, *stats) if name.startswith('bottleneck/bn/')}
  # What normalises a sum or a concatenation belongs to no convolution, and stays.
  assert kept == (
    set() if style == 'plain' else {f'bottleneck/bn/{x}' for x in ('scale', 'bias', 'mean', 'var')}
  )


def test_flax_batch_normalisation_trains_and_stays_and_a_nested_conv_bn_is_folded():
  network = Network(5, model=FlaxNormNet, **TINY)
  params, stats = random_arrays(network.param_shapes), random_arrays(network.batch_stat_shapes, 1)
  norm = {name for name in stats if name.startswith('bottleneck/parts/norm/')}
  assert norm == {'bottleneck/parts/norm/mean', 'bottleneck/parts/norm/var'}
  image = np.random.default_rng(2).normal(size=(2, 41, 33, 3)).astype('f')
  train = functools.partial(network.apply, train=True, key=jax.random.key(0))
  _, stats = jax.jit(train)(params, stats, image)
  before = random_arrays(network.batch_stat_shapes, 1)
  assert all((stats[name] != before[name]).any() for name in norm)
  plain, _ = jax.jit(network.apply)(params, stats, image)
  folded_params, folded_stats = network.fold(params, stats)
  folded, _ = jax.jit(network.folded().apply)(folded_params, folded_stats, image)
  assert error(np.asarray(folded['logits']), np.asarray(plain['logits'])) < 1e-5
  assert folded_stats.keys() == norm
  assert 'bottleneck/parts/norm/scale' in folded_params
  assert 'bottleneck/parts/first/0/bn/scale' not in folded_params


def test_on_a_gpu_bias_residual_and_relu_of_a_bfloat16_network_are_as_narrow_as_its_convolutions():
  # Only then the libraries take them into their calls; elsewhere sums are float32.
  network = Network(5, **dict(TINY, dtype='bfloat16', bins=())).folded()
  image = jax.ShapeDtypeStruct((1, 41, 33, 3), jnp.float32)
  shapes = network.param_shapes, network.batch_stat_shapes
  traced = jax.jit(lambda *x: network.apply(*x, upsample=False)[0]).trace(*shapes, image)
  texts = [traced.lower(lowering_platforms=(x,)).as_text() for x in ('cuda', 'tpu', 'cpu')]
  of_gpu, *others = (set(re.findall(r'tensor<(1x(?!1x)\d+x\d+x\d+)xf32>', text)) for text in texts)
  assert of_gpu == {'1x41x33x3', '1x6x5x5'}  # the image and the logits
  assert all('1x21x17x4' in shapes for shapes in others)
