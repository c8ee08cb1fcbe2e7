"""The header of a .safetensors file, true and false."""

import json

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given

from pspnet_jax.errors import UserError
from pspnet_jax.weights.foreign import safetensors_file
from tests.mutations import ends_well, fuzz, mutated
from tests.weights.foreign.files import content_of


def write(path, header, data=b''):
  text = header if isinstance(header, bytes) else json.dumps(header).encode()
  path.write_bytes(len(text).to_bytes(8, 'little') + text + data)
  return path


def entry(dtype, shape, end, begin=0):
  return {'dtype': dtype, 'shape': shape, 'data_offsets': [begin, end]}


@pytest.mark.parametrize(
  ('name', 'dtype'),
  [
    ('F64', np.float64),
    ('F16', np.float16),
    ('BF16', ml_dtypes.bfloat16),
    ('F8_E4M3', ml_dtypes.float8_e4m3fn),
    ('F8_E5M2', ml_dtypes.float8_e5m2),
    ('I16', np.int16),
    ('U64', np.uint64),
    ('BOOL', np.bool_),
  ],
)
def test_dtypes(name, dtype, tmp_path):
  array = np.array([[0, 1], [1, 0]], dtype)
  header = {'__metadata__': {'format': 'pt'}, 'a': entry(name, [2, 2], array.nbytes)}
  found = content_of(write(tmp_path / 'a.safetensors', header, array.tobytes()))
  np.testing.assert_array_equal(found['a'], array.astype(found['a'].dtype))


@pytest.mark.parametrize(
  ('header', 'message'),
  [
    (b'[1]', r'cut short \(its header lists no arrays\)'),
    (b'[' * 20_000, 'cut short'),
    (b'\xff\xfe', 'cut short'),
    ({'a': 3}, 'cut short'),
    ({'a': entry('F4', [2], 1)}, 'a has dtype F4, which is not read: save it as F32'),
    ({'a': entry([1], [2], 8)}, r'a has dtype \[1\]'),
    ({'a': entry('F32', [3], 8)}, 'a does not have the size of its shape'),
    ({'a': entry('F32', [4], 16)}, 'a lies beyond the end'),
    ({'a': entry('F32', [-1], -4)}, 'a has no shape or place'),
    ({'a': entry('F32', [2.0], 8)}, 'a has no shape or place'),
    (b'{"a": {"dtype": "F32", "shape": [1e400], "data_offsets": [0, 8]}}', 'no shape or place'),
    (b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 1e400]}}', 'no shape or place'),
    ({'a': entry('F32', [0, 1 << 64], 0)}, 'no shape or place'),
    ({'a': entry('F32', [1] * 70, 4)}, 'no shape or place'),
    ({'a\n\x1b[2J': entry('F32', [3], 8)}, r'a..\[2J does not have'),
  ],
  ids=range(15),
)
def test_headers_that_do_not_describe_their_arrays(header, message, tmp_path):
  path = write(tmp_path / 'a.safetensors', header, bytes(8))
  with pytest.raises(UserError, match=message) as caught:
    content_of(path)
  assert 'a.safetensors' in str(caught.value) and str(caught.value).isprintable()


def test_arrays_over_one_another_are_refused(tmp_path):
  """A small file could claim to be of any size."""
  header = {name: entry('F32', [2], 8) for name in 'ab'}
  with pytest.raises(UserError, match='its arrays lie over one another'):
    content_of(write(tmp_path / 'a.safetensors', header, bytes(8)))


def test_what_is_written_is_read(tmp_path):
  arrays = {
    'b': np.arange(6, dtype=np.float32).reshape(2, 3),
    'a': np.array([True]),
    'c': np.array(2.5),
    'd': np.ones((1, 2), ml_dtypes.bfloat16),
    'e': np.arange(6, dtype=np.int16)[::2],
  }
  path = tmp_path / 'a.safetensors'
  path.write_bytes(safetensors_file.to_bytes(arrays, {'about': 'x'}))
  found = content_of(path)
  assert found.keys() == arrays.keys()
  for name, x in arrays.items():
    np.testing.assert_array_equal(found[name], x.astype(found[name].dtype), strict=True)
  with pytest.raises(UserError, match='a has dtype complex128, which'):
    safetensors_file.to_bytes({'a': np.array([1j])}, {})


@pytest.mark.parametrize('length', [9, 1 << 63, (1 << 64) - 1])
def test_a_header_longer_than_the_file(length, tmp_path):
  path = tmp_path / 'a.safetensors'
  path.write_bytes(length.to_bytes(8, 'little') + b'{}')
  with pytest.raises(UserError, match='no header of its length'):
    content_of(path)


@fuzz
def test_mutated_files(tmp_path_factory):
  folder = tmp_path_factory.mktemp('fuzz')
  header = {f'layer{i}.0.conv1.weight': entry('F32', [1, 2, 1, 1], 8) for i in (1, 2)}
  seed = write(folder / 'seed.safetensors', header, bytes(16)).read_bytes()
  path = folder / 'a.safetensors'

  @given(mutated([seed]))
  def one(data):
    path.write_bytes(data)
    ends_well(content_of, path)

  one()
