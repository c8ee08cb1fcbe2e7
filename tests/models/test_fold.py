"""Batch normalisation folded into the kernels computes what it computed beside them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pspnet_jax.models.network import Network
from tests.conftest import COMPILE_FAST, TINY
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
  apply = [jax.jit(n.apply, compiler_options=COMPILE_FAST) for n in (network, network.folded())]
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


def test_a_folded_network_holds_nothing_it_does_not_use():
  network = Network(5, **TINY)
  folded, statistics = jax.eval_shape(network.fold, network.param_shapes, network.batch_stat_shapes)
  assert not statistics
  assert folded.keys() == network.folded().param_shapes.keys()
  assert not network.folded().batch_stat_shapes
  assert not [name for name in folded if name.startswith('aux') or name.endswith('scale')]
  assert network.batch_stat_shapes and 'aux_head/classifier/conv/bias' in network.param_shapes
