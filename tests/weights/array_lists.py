"""Lists of arrays as MXNet writes them, after src/ndarray/ndarray.cc of its version 1."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

FLAGS = {'float32': 0, 'float64': 1, 'float16': 2, 'uint8': 3, 'int32': 4, 'int8': 5, 'int64': 6}
V1, V2, V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA


def array(x: np.ndarray, version: int | None = V2) -> bytes:
  """One array; None is the layout before there were versions."""
  if version is None:
    head = struct.pack(f'<I{x.ndim}I', x.ndim, *x.shape)
  else:
    storage = b'' if version == V1 else struct.pack('<i', 0)
    head = struct.pack('<I', version) + storage + struct.pack(f'<i{x.ndim}q', x.ndim, *x.shape)
  return head + struct.pack('<iii', 1, 0, FLAGS[x.dtype.name]) + np.ascontiguousarray(x).tobytes()


def of(arrays: Mapping[str, np.ndarray], version: int | None = V2) -> bytes:
  names = [name.encode() for name in arrays]
  return b''.join(
    (
      struct.pack('<QQQ', 0x112, 0, len(arrays)),
      *(array(x, version) for x in arrays.values()),
      struct.pack('<Q', len(names)),
      *(struct.pack('<Q', len(name)) + name for name in names),
    )
  )


def write(path: Path, arrays: Mapping[str, np.ndarray]) -> Path:
  path.write_bytes(of(arrays))
  return path
