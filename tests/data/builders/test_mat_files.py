"""Labels in MATLAB files: read exactly, or refused."""

import io
import struct
import zlib

import numpy as np
import pytest
import scipy.io
from hypothesis import given

from pspnet_jax.data.builders.mat_files import mat_label
from pspnet_jax.data.label_ids import label_table
from pspnet_jax.errors import UserError
from tests.mutations import ends_well, fuzz, mutated

TABLE = label_table([7, 300], ignore_ids=(0,))
IDS = [[0, 7, 300], [300, 7, 7]]
LABEL = [[255, 0, 1], [1, 0, 0]]


def mat(ids, compressed=True, **more):
  """As SciPy writes it, after other variables."""
  file = io.BytesIO()
  scipy.io.savemat(file, {**more, 'S': ids}, do_compression=compressed)
  return file.getvalue()


def element(kind, content, order='<'):
  return struct.pack(f'{order}II', kind, len(content)) + content + b'\0' * (-len(content) % 8)


def by_hand(ids, order='<', kind=2, kept_as='u1', mx_class=6, short_name=True):
  """As MATLAB writes it: a matrix of doubles that are kept as bytes, in either byte order."""
  name = struct.pack(f'{order}I4s', 1 << 16 | 1, b'S') if short_name else element(1, b'S', order)
  parts = [
    element(6, struct.pack(f'{order}II', mx_class, 0), order),
    element(5, struct.pack(f'{order}2i', *np.shape(ids)), order),
    name,
    element(kind, np.array(ids, f'{order}{kept_as}').tobytes('F'), order),
  ]
  mark = {'<': b'\0\1IM', '>': b'\1\0MI'}[order]
  return b'MATLAB 5.0'.ljust(124) + mark + element(14, b''.join(parts), order)


@pytest.mark.parametrize('dtype', [np.uint16, np.int32, np.int64, np.float32, np.float64])
@pytest.mark.parametrize('compressed', [False, True])
def test_whatever_holds_whole_numbers_is_read(dtype, compressed):
  names = np.array([['unlabeled'], ['person']], object)
  data = mat(np.array(IDS, dtype), compressed, names=names, other=np.eye(3), text='S' * 99)
  label = mat_label('x', data, 'S', TABLE)
  assert label.tolist() == LABEL and label.dtype == np.uint8


@pytest.mark.parametrize('order', ['<', '>'])
@pytest.mark.parametrize('short_name', [False, True])
def test_whatever_matlab_makes_of_it_is_read(order, short_name):
  data = by_hand([[0, 7, 7], [7, 0, 0]], order, short_name=short_name)
  assert mat_label('x', data, 'S', TABLE).tolist() == [[255, 0, 0], [0, 255, 255]]
  wide = by_hand(IDS, order, kind=4, kept_as='u2', mx_class=11)
  assert mat_label('x', wide, 'S', TABLE).tolist() == LABEL
  if order == '<':
    assert scipy.io.loadmat(io.BytesIO(data))['S'].tolist() == [[0, 7, 7], [7, 0, 0]]


@pytest.mark.parametrize('shape', [(1, 1), (1, 700), (700, 1), (123, 77)])
def test_any_size_is_read(shape):
  ids = np.random.default_rng(0).choice(np.array([0, 7, 300], np.uint16), shape)
  expected = np.select([ids == 7, ids == 300], [0, 1], 255)
  for compressed in (False, True):
    np.testing.assert_array_equal(mat_label('x', mat(ids, compressed), 'S', TABLE), expected)


@pytest.mark.parametrize(
  ('ids', 'message'),
  [
    ([[0.5]], 'other numbers than ids'),
    ([[np.nan]], 'other numbers than ids'),
    ([[np.inf]], 'other numbers than ids'),
    ([[-7]], 'other numbers than ids'),
    ([[70_000]], 'other numbers than ids'),
    ([[1j]], 'of another class'),
    (np.zeros((2, 2, 2), np.uint8), 'of another class'),
    (np.zeros((0, 2), np.uint8), 'it is empty'),
    ('text', 'of another class'),
    ({'a': 1}, 'of another class'),
    ([[8]], 'has 1 of 1 pixels with id 8'),
  ],
)
def test_whatever_else_is_refused(ids, message):
  for compressed in (False, True):
    with pytest.raises(UserError, match=rf'^x .*{message}') as error:
      mat_label('x', mat(ids, compressed), 'S', TABLE)
    assert '\n' not in str(error.value)


def test_a_file_of_another_version_or_without_it_is_refused():
  for data in (b'', b'?' * 300, b'MATLAB 7.3 MAT-file'.ljust(124) + b'\0\2' + b'xx'):
    with pytest.raises(UserError, match=r'x holds no matrix S .*no MATLAB file of version 5 to 7'):
      mat_label('x', data, 'S', TABLE)
  with pytest.raises(UserError, match=r'x holds no matrix T .*none of that name'):
    mat_label('x', mat(IDS), 'T', TABLE)


def test_damage_is_found():
  ids = np.random.default_rng(0).choice(np.array([0, 7, 300], np.uint16), (99, 99))
  for compressed in (False, True):
    with pytest.raises(UserError, match='it is cut short'):
      mat_label('x', mat(ids, compressed)[:-200], 'S', TABLE)
  data = mat(ids)
  for i in range(140, len(data), 9):  # a flipped bit, found by the checksum at the latest
    with pytest.raises(UserError, match='x holds no matrix S'):
      mat_label('x', data[:i] + bytes([data[i] ^ 4]) + data[i + 1 :], 'S', TABLE)


def test_what_claims_too_much_is_refused_before_it_is_unpacked(monkeypatch):
  monkeypatch.setenv('PSPNET_JAX_MAX_PIXELS', '5')
  with pytest.raises(UserError, match='x has 6 pixels, and 5 is the limit'):
    mat_label('x', mat(np.array(IDS, np.uint16)), 'S', TABLE)
  bomb = by_hand([[7]])[128:] + b'\0' * 50_000_000
  data = b'MATLAB 5.0'.ljust(124) + b'\0\1IM'
  packed = zlib.compress(bomb)
  data += struct.pack('<II', 15, len(packed)) + packed
  with pytest.raises(UserError, match='longer than it says'):
    mat_label('x', data, 'S', TABLE)


@fuzz
@given(mutated([mat(np.array(IDS, np.uint16)), by_hand([[7]]), mat(np.array(IDS), False)]))
def test_mutated_files_end_well(data):
  ends_well(lambda: mat_label('x', data, 'S', TABLE))
