"""What a training step changes, and what of it a checkpoint stores."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from pspnet_jax.models.network import Network
from pspnet_jax.training.state import TrainState
from tests.conftest import TINY


@pytest.fixture(scope='module')
def network():
  return Network(3, **TINY)


def create(network, ema_decay=0.0):
  return TrainState.create(network, optax.sgd(0.1, momentum=0.9), seed=1, ema_decay=ema_decay)


def test_it_begins_with_the_initial_values_of_the_seed(network):
  state = create(network)
  assert int(state.step) == 0 and state.step.dtype == jnp.int32 and state.ema_params is None
  params, batch_stats = network.init(1)
  jax.tree.map(
    np.testing.assert_array_equal, (state.params, state.batch_stats), (params, batch_stats)
  )
  assert state.params_to_use is state.params


def test_an_average_begins_at_the_parameters_in_buffers_of_its_own(network):
  """The step gives its state's buffers away, and each can be given only once."""
  state = create(network, ema_decay=0.9)
  assert state.params_to_use is state.ema_params
  donate = jax.jit(lambda s: jax.tree.map(lambda x: x + 1, s), donate_argnums=0)
  jax.tree.map(np.testing.assert_array_equal, state.ema_params, state.params)
  donate(state)


def test_weights_from_elsewhere_begin_the_average_too(network):
  state = create(network, ema_decay=0.9)
  params = {name: x + 1 for name, x in state.params.items()}
  stats = {name: x + 2 for name, x in state.batch_stats.items()}
  new = state.with_weights(params, stats)
  assert new.params is params and new.batch_stats is stats and new.opt_state is state.opt_state
  for name, x in params.items():
    np.testing.assert_array_equal(new.ema_params[name], x)
    assert new.ema_params[name] is not x
  assert create(network).with_weights(params, stats).ema_params is None


def test_an_update_follows_the_optimiser_and_the_average_follows_it(network):
  tx = optax.sgd(0.1, momentum=0.9)
  state = TrainState.create(network, tx, seed=1, ema_decay=0.75)
  ones = jax.tree.map(jnp.ones_like, state.params)
  stats = {name: x + 1 for name, x in state.batch_stats.items()}
  one = state.updated(tx, ones, stats, ema_decay=0.75)
  two = one.updated(tx, ones, stats, ema_decay=0.75)
  assert int(two.step) == 2 and two.batch_stats is stats
  for name, x in state.params.items():
    first, second = x - 0.1, x - 0.1 - 0.19  # momentum 0.9
    np.testing.assert_allclose(two.params[name], second, rtol=1e-6, atol=1e-6)
    after_one = 0.1 * x + 0.9 * first  # the decay is warmed up
    average = 2 / 11 * after_one + 9 / 11 * second
    np.testing.assert_allclose(two.ema_params[name], average, rtol=1e-6, atol=1e-6)


def test_an_average_goes_on_as_if_it_had_never_stopped():
  """Its warm-up follows from the step."""
  tx, ones = optax.sgd(0.1), {'x': jnp.ones(3)}
  one = TrainState(jnp.int32(0), ones, {}, tx.init(ones), ones)
  for _ in range(3):
    one = one.updated(tx, ones, {}, ema_decay=0.999)
  again = TrainState.from_items(3, one.items())
  one, again = (state.updated(tx, ones, {}, ema_decay=0.999) for state in (one, again))
  np.testing.assert_array_equal(one.ema_params['x'], again.ema_params['x'])
  np.testing.assert_allclose(one.ema_params['x'], one.params['x'], atol=0.05)


@pytest.mark.parametrize('ema_decay', [0.0, 0.9])
def test_items_make_the_state_again(network, ema_decay):
  state = create(network, ema_decay)
  items = state.items()
  assert items.keys() == {'params', 'batch_stats', 'opt_state'} | (
    {'ema_params'} if ema_decay else set()
  )
  again = TrainState.from_items(7, items)
  assert int(again.step) == 7 and again.items() == items
  assert jax.tree.structure(again) == jax.tree.structure(state)
