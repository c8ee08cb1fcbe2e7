"""Reads labels from MATLAB files of version 5, which those of 6 and 7 are, too.

A file is a row of elements, each of a kind and a length; MathWorks' "MAT-File Format" describes it.
SciPy reads more of it, and ends the process on some files that are damaged.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from pspnet_jax.data.label_ids import map_ids
from pspnet_jax.errors import UserError
from pspnet_jax.runtime.limits import PIXELS

_HEADER = 128  # bytes ahead of the first element
_ORDERS = {b'IM': '<', b'MI': '>'}
_MATRIX, _COMPRESSED = 14, 15  # kinds of elements; those of numbers are
_SHORT = {1: 'i1', 2: 'u1', 3: 'i2', 4: 'u2', 5: 'i4', 6: 'u4', 7: 'f4'}
_NUMBERS = {**_SHORT, 9: 'f8', 12: 'i8', 13: 'u8'}
_NUMERIC = range(6, 16)  # classes of matrices: all but cells, structures, text and sparse ones
_COMPLEX = 1 << 11
_HEAD = 1024  # bytes that hold whatever a matrix has ahead of its numbers


class _Element(NamedTuple):
  kind: int
  start: int  # of its content
  size: int
  end: int  # where the next one begins


def mat_label(where: str, data: bytes, name: str, table: np.ndarray) -> np.ndarray:
  """The label in a MATLAB file, as `label_ids.read_label` has it of an image file.

  Args:
    where: for messages.
    data: what the file holds.
    name: of the variable that holds the ids, a matrix of whole numbers.
    table: from ids to class ids; see `label_ids.label_table`.

  Returns:
    uint8 [H, W]: class ids and IGNORE_LABEL.

  Raises:
    UserError: if the file is damaged or has no such matrix, or it holds an illegal id.
  """
  try:
    ids = _matrix(where, data, name)
    whole = ids.astype(np.int64) if np.isfinite(ids).all() else np.zeros_like(ids)
    if not (whole == ids).all() or whole.min(initial=0) < 0 or whole.max(initial=0) > 0xFFFF:
      raise ValueError('it has other numbers than ids')
  except (ValueError, struct.error, zlib.error) as e:
    raise UserError(f'{where} holds no matrix {name} ({e}): download the archive again.') from e
  return map_ids(where, np.ascontiguousarray(whole, np.uint16), table)


def _matrix(where: str, data: bytes, name: str) -> np.ndarray:
  order = _ORDERS.get(data[126:128])
  if order is None:
    raise ValueError('it is no MATLAB file of version 5 to 7')
  for element in _elements(data, order):
    content = data[element.start : element.start + element.size]
    unpack = zlib.decompressobj()
    if element.kind == _COMPRESSED:
      head = unpack.decompress(content, _HEAD)
      inner = _element(head, 0, order)
      kind, start = inner.kind, inner.start
    else:
      head, kind, start = content[:_HEAD], element.kind, 0
    if kind != _MATRIX:
      continue
    flags, size, found, numbers = _described(head, start, order)
    if found != name.encode():
      continue
    if flags & 0xFF not in _NUMERIC or flags & _COMPLEX or len(size) != 2:
      raise ValueError('it is of another class')
    if too_large := PIXELS.exceeded_by(math.prod(size)):
      raise UserError(f'{where} has {too_large}.')
    dtype = np.dtype(order + _NUMBERS[numbers.kind]) if numbers.kind in _NUMBERS else None
    if dtype is None or numbers.size != math.prod(size) * dtype.itemsize:
      raise ValueError('its size is not that of its numbers')
    if element.kind == _COMPRESSED:
      content = head + unpack.decompress(unpack.unconsumed_tail, numbers.end + _HEAD)
      if not unpack.eof:  # only there is the checksum compared
        raise ValueError('it is cut short or longer than it says')
    if len(content) < numbers.start + numbers.size:
      raise ValueError('it is cut short')
    ids = np.frombuffer(content, dtype, math.prod(size), numbers.start)
    return ids.reshape(size[::-1]).T  # down the columns
  raise ValueError('there is none of that name')


def _described(head: bytes, start: int, order: str) -> tuple[int, tuple[int, ...], bytes, _Element]:
  """What a matrix has ahead of its numbers: flags with its class, size, name; and the numbers."""
  flags = _element(head, start, order)
  size = _element(head, flags.end, order)
  name = _element(head, size.end, order)
  numbers = _element(head, name.end, order)
  [word] = struct.unpack_from(f'{order}I', head, flags.start)
  sides = struct.unpack_from(f'{order}{min(size.size // 4, 9)}i', head, size.start)
  if min(sides, default=0) < 1:
    raise ValueError('it is empty')
  return word, sides, head[name.start : name.start + name.size], numbers


def _elements(data: bytes, order: str) -> Iterator[_Element]:
  at = _HEADER
  while at < len(data):
    element = _element(data, at, order)
    yield element
    at = element.end


def _element(data: bytes, at: int, order: str) -> _Element:
  """The element that begins there; of short ones, the content lies within the eight bytes."""
  kind, size = struct.unpack_from(f'{order}II', data, at)
  if kind >> 16:
    return _Element(kind & 0xFFFF, at + 4, min(kind >> 16, 4), at + 8)
  padded = size if kind == _COMPRESSED else -(-size // 8) * 8
  return _Element(kind, at + 8, size, at + 8 + padded)
