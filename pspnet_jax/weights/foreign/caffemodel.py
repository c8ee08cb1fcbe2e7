"""Reads .caffemodel files (caffe.proto's NetParameter) without Caffe.

Only the fields that hold weights are described. Repeated floats are packed, which on the wire is
one run of bytes: described as bytes they need not become Python floats one by one.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pspnet_jax.errors import UserError
from pspnet_jax.weights.foreign.name_table import shown
from pspnet_jax.weights.foreign.stored import StoredArray

_LEGACY = ('num', 'channels', 'height', 'width')
# Message -> field -> number, type, whether repeated (numbers of caffe.proto).
_MESSAGES: dict[str, dict[str, tuple[int, str, bool]]] = {
  'BlobShape': {'dim': (1, 'INT64', True)},
  'BlobProto': {
    **{name: (i, 'INT32', False) for i, name in enumerate(_LEGACY, 1)},
    'data': (5, 'BYTES', False),
    'shape': (7, 'BlobShape', False),
    'double_data': (8, 'BYTES', False),
  },
  'LayerParameter': {'name': (1, 'STRING', False), 'blobs': (7, 'BlobProto', True)},
  # Caffe wrote layers so before 2014, and some forks after.
  'V1LayerParameter': {'name': (4, 'STRING', False), 'blobs': (6, 'BlobProto', True)},
  'NetParameter': {
    'layers': (2, 'V1LayerParameter', True),
    'layer': (100, 'LayerParameter', True),
  },
}


@functools.cache
def _net_parameter() -> Any:
  """The class of NetParameter."""
  from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

  field_type = descriptor_pb2.FieldDescriptorProto
  file = descriptor_pb2.FileDescriptorProto(
    name='pspnet_jax/caffe.proto', package='pspnet_jax.caffe', syntax='proto2'
  )
  for name, fields in _MESSAGES.items():
    message = file.message_type.add(name=name)
    for field_name, (number, kind, repeated) in fields.items():
      label = field_type.LABEL_REPEATED if repeated else field_type.LABEL_OPTIONAL
      field = message.field.add(name=field_name, number=number, label=label)
      if kind in _MESSAGES:
        field.type, field.type_name = field_type.TYPE_MESSAGE, f'.{file.package}.{kind}'
      else:
        field.type = getattr(field_type, f'TYPE_{kind}')
  pool = descriptor_pool.DescriptorPool()
  pool.Add(file)
  descriptor = pool.FindMessageTypeByName(f'{file.package}.NetParameter')
  return message_factory.GetMessageClass(descriptor)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[dict[str, StoredArray]]:
  """All blobs of a file; see `parse`."""
  yield parse(path.read_bytes(), str(path))


def parse(data: bytes, where: str) -> dict[str, StoredArray]:
  """Reads all blobs: blob i of a layer is 'LAYER[i]', in the blob's shape.

  Raises:
    UserError: if `data` is no NetParameter, is cut short, or a blob does not have its shape's size.
  """
  from google.protobuf.message import DecodeError

  net = _net_parameter()()
  try:
    net.ParseFromString(data)
  except (DecodeError, UnicodeDecodeError) as e:
    raise UserError(
      f'{where} is not a .caffemodel or is cut short (protobuf cannot parse it): download it again.'
    ) from e
  arrays = {}
  for layer in (*net.layers, *net.layer):
    for i, blob in enumerate(layer.blobs):
      key = f'{layer.name}[{i}]'
      if key in arrays:
        raise UserError(f'{where} has two layers {shown(layer.name)}: give an unchanged file.')
      arrays[key] = _array(blob, f'{where}: {shown(key)}')
  if not arrays:
    raise UserError(f'{where} holds no layer with weights: give a trained .caffemodel.')
  return arrays


def _array(blob: Any, where: str) -> StoredArray:
  if blob.HasField('shape'):
    shape = tuple(blob.shape.dim)
  else:
    shape = tuple(getattr(blob, name) for name in _LEGACY)
  data, dtype = (blob.data, '<f4') if blob.data else (blob.double_data, '<f8')
  size = np.dtype(dtype).itemsize
  if (
    len(shape) > 32 or min(shape, default=1) < 1 or not data or len(data) != math.prod(shape) * size
  ):
    raise UserError(
      f'{where} has {len(data) // size:,} values, and its shape {_short(shape)} is not of that '
      'many: download the file again.'
    )
  return StoredArray(np.dtype(dtype), shape, lambda: np.frombuffer(data, dtype).reshape(shape))


def _short(shape: tuple[int, ...]) -> str:
  return str(shape) if len(shape) <= 6 else f'of {len(shape)} axes'
