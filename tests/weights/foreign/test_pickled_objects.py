"""Tensors and NumPy arrays as their pickles announce them."""

import io
import pickle
import struct

import numpy as np
import pytest

from pspnet_jax.weights.foreign import data_pickle
from pspnet_jax.weights.foreign.pickled_objects import Storage
from pspnet_jax.weights.foreign.stored import Inert
from tests.weights.foreign.files import values_of


def load(data, storage=b''):
  content, _ = data_pickle.load(io.BytesIO(data), lambda _: storage)
  return values_of(content)


@pytest.mark.parametrize('protocol', [0, 2, 4, 5])
@pytest.mark.parametrize(
  'array',
  [
    np.arange(6, dtype='>f4').reshape(2, 3),
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.array([True, False]),
    np.zeros((0, 3), np.int8),
    np.array(2.5, np.float16),
  ],
  ids=['big endian', 'fortran', 'flags', 'empty', 'scalar'],
)
def test_arrays_of_numpy(array, protocol):
  found = load(pickle.dumps(array, protocol))
  np.testing.assert_array_equal(found, array)
  assert found.dtype == array.dtype.newbyteorder('=')


@pytest.mark.parametrize('protocol', [2, 4])
def test_scalars_of_numpy_are_numbers(protocol):
  values = {'a': np.float64(0.5), 'b': np.int32(-3), 'c': np.bool_(True)}
  assert load(pickle.dumps(values, protocol)) == {'a': 0.5, 'b': -3, 'c': True}


def test_arrays_of_objects_and_texts_have_no_values():
  for array in (np.array([{}, []], object), np.array(['a', 'b'])):
    assert load(pickle.dumps({'x': array}, 2))['x'].size == 0


def tensor(offset, shape, stride, kind='FloatStorage', count=6):
  """The pickle of one tensor, as torch writes it."""

  def number(n):
    return b'\x8a\x08' + struct.pack('<q', n)

  def numbers(values):
    return b'(' + b''.join(map(number, values)) + b't'

  storage = b'(U\x07storagectorch\n' + kind.encode() + b'\nU\x010U\x03cpu' + number(count) + b'tQ'
  shapes = numbers(shape) + numbers(stride)
  return (
    b'\x80\x02ctorch._utils\n_rebuild_tensor_v2\n('
    + storage
    + number(offset)
    + shapes
    + b'\x89}tR.'
  )


VALUES = np.arange(6, dtype='f4')


def test_a_tensor_is_cut_out_of_its_storage():
  found = load(tensor(1, (2, 2), (2, 1)), VALUES.tobytes())
  np.testing.assert_array_equal(found, [[1, 2], [3, 4]])
  np.testing.assert_array_equal(load(tensor(0, (3, 2), (1, 3)), VALUES.tobytes())[2], [2, 5])
  np.testing.assert_array_equal(load(tensor(5, (3,), (0,)), VALUES.tobytes()), [5, 5, 5])
  assert load(tensor(0, (0, 1 << 40), (1, 1)), VALUES.tobytes()).size == 0


@pytest.mark.parametrize(
  ('offset', 'shape', 'stride'),
  [
    (0, (7,), (1,)),
    (6, (1,), (1,)),
    (-1, (2,), (1,)),
    (2, (3,), (-1,)),
    (0, (2, 2), (6, 1)),
    (0, (2, 2), (1,)),
    (0, (1 << 62, 1 << 62), (1 << 62, 1)),
    (0, (1,) * 40, (1,) * 40),
  ],
)
def test_a_tensor_beyond_its_storage_is_damage(offset, shape, stride):
  with pytest.raises(data_pickle.DAMAGE):
    load(tensor(offset, shape, stride), VALUES.tobytes())


def test_kinds_of_storage_that_are_no_numbers_are_inert():
  found = load(tensor(0, (2,), (1,), 'QInt8Storage'))
  assert isinstance(found, Inert) and found.name == 'torch.QInt8Storage'


def test_storages_are_listed():
  _, storages = data_pickle.load(io.BytesIO(tensor(0, (2,), (1,), 'LongStorage')), lambda _: b'')
  [storage] = storages.values()
  assert isinstance(storage, Storage)
  assert (storage.key, storage.dtype, storage.count) == ('0', np.dtype('i8'), 6)
