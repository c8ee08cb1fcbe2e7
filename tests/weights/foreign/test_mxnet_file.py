"""Lists of arrays of MXNet, in all of its layouts, and lists that lie."""

import struct

import numpy as np
import pytest
from hypothesis import given

from pspnet_jax.errors import UserError
from tests.mutations import ends_well, fuzz, mutated
from tests.weights import array_lists
from tests.weights.foreign.files import content_of

ARRAYS = {
  'layer1.0.conv1.weight': np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
  'bn.gamma': np.ones(3, np.float16),
  'wide': np.array([1e300, -2.5]),
  'count': np.array([[1, 2], [3, 4]], np.int64),
}
VERSIONS = (None, array_lists.V1, array_lists.V2, array_lists.V3)


def read(tmp_path, data):
  (tmp_path / 'net.params').write_bytes(data)
  return content_of(tmp_path / 'net.params')


@pytest.mark.parametrize('version', VERSIONS)
def test_arrays_come_by_name_in_their_shapes(version, tmp_path):
  found = read(tmp_path, array_lists.of(ARRAYS, version))
  assert list(found) == list(ARRAYS)
  for name, x in ARRAYS.items():
    assert found[name].dtype == x.dtype
    np.testing.assert_array_equal(found[name], x)


def test_a_scalar_is_one_only_since_shapes_are_those_of_numpy(tmp_path):
  arrays = {'a': np.float32([1]), 'one': np.float32(3).reshape(())}
  assert read(tmp_path, array_lists.of(arrays, array_lists.V3))['one'] == 3


def test_an_array_without_a_shape_is_left_out(tmp_path):
  none = struct.pack('<Iii', array_lists.V2, 0, 0)
  data = array_lists.of({'a': ARRAYS['wide'], 'b': ARRAYS['wide']})
  of_a = array_lists.array(ARRAYS['wide'])
  assert list(read(tmp_path, data.replace(of_a, none, 1))) == ['b']


def listing(arrays: list[bytes], names: list[bytes]) -> bytes:
  head = struct.pack('<QQQ', 0x112, 0, len(arrays)) + b''.join(arrays)
  return (
    head + struct.pack('<Q', len(names)) + b''.join(struct.pack('<Q', len(n)) + n for n in names)
  )


ONE = array_lists.array(ARRAYS['wide'])
HEAD = struct.pack('<QQ', 0x112, 0)
LIES = {
  'no names': (listing([ONE], []), 'holds no arrays by name: save them by nd.save'),
  'nothing': (listing([], []), 'holds no arrays by name'),
  'a name twice': (listing([ONE, ONE], [b'a', b'a']), 'has two arrays a: give'),
  'sparse': (
    listing([struct.pack('<Iii', array_lists.V2, 1, 1)], [b'a']),
    r'cut short \(a sparse array\)',
  ),
  'more arrays than bytes': (HEAD + struct.pack('<Q', 1 << 60), 'more arrays than fit'),
  'a shape beyond the end': (
    listing([struct.pack('<Iii3q', array_lists.V2, 0, 3, 1 << 40, 1 << 40, 1 << 40)], [b'a']),
    'cut short',
  ),
  'many axes': (listing([struct.pack('<Iii', array_lists.V2, 0, 10**6)], [b'a']), '1000000 axes'),
  'many axes of old': (listing([struct.pack('<I', 10**6)], [b'a']), '1000000 axes'),
  'a negative side': (
    listing([struct.pack('<Iii2qiii', array_lists.V2, 0, 2, -1, -4, 1, 0, 0)], [b'a']),
    'without a shape',
  ),
  'an unknown type': (
    listing([struct.pack('<Iiiqiii', array_lists.V2, 0, 1, 1, 1, 0, 99)], [b'a']),
    'the unknown type 99',
  ),
  'cut short': (listing([ONE], [b'a'])[:-3], 'cut short'),
  'only the header': (HEAD, 'cut short'),
}


@pytest.mark.parametrize('lie', LIES)
def test_lists_that_lie_are_refused_in_one_sentence(lie, tmp_path):
  data, message = LIES[lie]
  with pytest.raises(UserError, match=message) as caught:
    read(tmp_path, data)
  assert 'net.params' in str(caught.value) and '\n' not in str(caught.value)


@fuzz
def test_mutated_lists(tmp_path_factory):
  folder = tmp_path_factory.mktemp('fuzz')

  @given(mutated([array_lists.of(ARRAYS, version) for version in VERSIONS]))
  def one(data):
    ends_well(read, folder, data)

  one()
