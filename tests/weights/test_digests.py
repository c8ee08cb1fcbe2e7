"""Digests: the same for the same arrays, another for whatever else."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from pspnet_jax.runtime import parallel
from pspnet_jax.weights.digests import digest, sha256, sha256_of_each

ARRAYS = {'a': np.arange(12, dtype=np.float32).reshape(3, 4), 'b': np.float32(1), 'c': np.zeros(0)}


def test_where_the_arrays_lie_does_not_matter():
  on_mesh = jax.device_put(ARRAYS, parallel.replicated(parallel.make_mesh()))
  split = jax.device_put(
    {**ARRAYS, 'd': np.arange(8.0)}, jax.sharding.SingleDeviceSharding(jax.devices()[0])
  )
  split['d'] = jax.device_put(split['d'], parallel.split_batch(parallel.make_mesh()))
  plain = {name: jnp.asarray(x) for name, x in ARRAYS.items()}
  assert digest(plain) == digest(on_mesh) == digest(dict(reversed(plain.items())))
  assert digest(split) == digest({name: np.asarray(x) for name, x in split.items()})


@pytest.mark.parametrize('bit', [0, 7, 13, 383])
def test_any_bit_counts(bit):
  changed = {name: np.array(x) for name, x in ARRAYS.items()}
  changed['a'].reshape(-1).view(np.uint8)[bit // 8] ^= 1 << bit % 8
  assert digest(changed) != digest(ARRAYS)


def test_names_shapes_and_types_count():
  seen = {digest(ARRAYS)}
  for other in (
    {**ARRAYS, 'a': ARRAYS['a'].T.reshape(3, 4)},
    {**ARRAYS, 'a': ARRAYS['a'].reshape(4, 3)},
    {**ARRAYS, 'a': ARRAYS['a'].view(np.int32)},
    {'d' if name == 'a' else name: x for name, x in ARRAYS.items()},
    {name: x for name, x in ARRAYS.items() if name != 'c'},
    {},
  ):
    seen.add(digest(other))
  assert len(seen) == 7


def test_the_state_of_an_optimiser_has_one_too():
  params = {'a': jnp.arange(3.0), 'b': jnp.bfloat16(2)}
  states = [tx.init(params) for tx in (optax.adam(0.1), optax.sgd(0.1, momentum=0.9))]
  assert len({digest(state) for state in states}) == 2
  assert digest(states[0]) == digest(jax.tree.map(np.asarray, states[0]))
  assert digest({'nested': params}) == digest({'nested': dict(params)})


def test_the_sha256_of_an_array_is_that_of_all_that_it_is():
  x = np.arange(12, dtype=np.float32).reshape(3, 4)
  others = (x.reshape(4, 3), x.view(np.int32), x.T, x + 1, np.float32(1), np.zeros(0))
  assert len({sha256('a', x), sha256('b', x), *(sha256('a', y) for y in others)}) == 8
  expected = hashlib.sha256(b'a float32 [3, 4]\n' + x.tobytes()).hexdigest()
  assert sha256('a', x) == expected == sha256('a', np.asfortranarray(x))
  assert sha256_of_each({'a': x, 'b': x}) == {'a': expected, 'b': sha256('b', x)}
