"""Reads .params files, the lists of arrays that MXNet's `nd.save` and Gluon write, without MXNet.

The layout is that of src/ndarray/ndarray.cc: a header, the arrays in a row, then their names. Only
dense arrays are read. No number in a file is believed beyond the file's own size.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pspnet_jax.errors import UserError
from pspnet_jax.weights.foreign.name_table import shown
from pspnet_jax.weights.foreign.stored import SMALL_FLOATS, StoredArray

BEGINNING = struct.pack('<QQ', 0x112, 0)
# Type flags of mshadow (base.h).
_DTYPES = {
  0: np.dtype('<f4'),
  1: np.dtype('<f8'),
  2: np.dtype('<f2'),
  3: np.dtype('u1'),
  4: np.dtype('<i4'),
  5: np.dtype('i1'),
  6: np.dtype('<i8'),
  7: np.dtype('?'),
  12: SMALL_FLOATS['bfloat16'],
}
_V1, _V2, _V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA  # since 0.12, 1.0 and, for NumPy shapes, 1.6
_MOST_AXES = 32


@contextlib.contextmanager
def opened(path: Path) -> Iterator[dict[str, StoredArray]]:
  """All arrays of a file by name; they can be read within the block.

  Raises:
    UserError: if it is no such list, is cut short, or holds arrays without names.
  """
  with path.open('rb') as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
    try:
      arrays = _arrays(_Reader(content), path)
    except (ValueError, struct.error) as e:
      reason = f' ({e})' if isinstance(e, ValueError) and str(e) else ''
      raise UserError(
        f'{path} is no list of arrays of MXNet or is cut short{reason}: download it again.'
      ) from e
    yield arrays


class _Reader:
  """Numbers in a row, each within the file."""

  def __init__(self, content: mmap.mmap):
    self.content, self.place = content, 0

  def numbers(self, code: str) -> tuple[int, ...]:
    layout = struct.Struct(f'<{code}')
    found = layout.unpack_from(self.content, self.place)
    self.place += layout.size
    return found

  def number(self, code: str) -> int:
    return self.numbers(code)[0]

  def skip(self, size: int) -> int:
    """Leaves out `size` bytes; returns where they begin."""
    start = self.place
    if size > len(self.content) - start:
      raise ValueError('an array beyond the end')
    self.place += size
    return start


def _arrays(reader: _Reader, path: Path) -> dict[str, StoredArray]:
  if reader.content[: len(BEGINNING)] != BEGINNING:
    raise ValueError('')
  reader.skip(len(BEGINNING))
  found = [_array(reader) for _ in range(_count(reader, 4))]  # the least that an array takes
  names = [_name(reader) for _ in range(_count(reader, 8))]
  if not found or len(names) != len(found):
    raise UserError(f'{path} holds no arrays by name: save them by nd.save as a dictionary.')
  arrays: dict[str, StoredArray] = {}
  for name, array in zip(names, found, strict=True):
    if name in arrays:
      raise UserError(f'{path} has two arrays {shown(name)}: give an unchanged file.')
    if array is not None:
      arrays[name] = array
  return arrays


def _count(reader: _Reader, size: int) -> int:
  count = reader.number('Q')
  if count > (len(reader.content) - reader.place) // size:
    raise ValueError('more arrays than fit')
  return count


def _name(reader: _Reader) -> str:
  size = reader.number('Q')
  start = reader.skip(size)
  return reader.content[start : start + size].decode('utf-8', 'replace')


def _array(reader: _Reader) -> StoredArray | None:
  """The next array; None for one without a shape, which has no values."""
  version = reader.number('I')
  if version in (_V2, _V3) and reader.number('i') != 0:
    raise ValueError('a sparse array')
  modern = version in (_V1, _V2, _V3)
  axes = reader.number('i') if modern else version
  if axes < 0 or (axes == 0 and version != _V3):
    return None
  if axes > _MOST_AXES:
    raise ValueError(f'an array of {axes} axes')
  shape = reader.numbers(f'{axes}{"q" if modern else "I"}')
  reader.numbers('ii')  # the device it was on
  flag = reader.number('i')
  if flag not in _DTYPES:
    raise ValueError(f'an array of the unknown type {flag}')
  if min(shape, default=0) < 0:
    raise ValueError('an array without a shape')
  dtype = _DTYPES[flag]
  size = math.prod(shape) * dtype.itemsize
  start = reader.skip(size)

  def values() -> np.ndarray:
    return np.frombuffer(reader.content[start : start + size], dtype).reshape(shape)

  return StoredArray(dtype, shape, values)
