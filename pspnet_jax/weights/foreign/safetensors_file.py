"""Reads and writes .safetensors: the header's length, a JSON header, the arrays end to end.

The format is described at https://github.com/huggingface/safetensors.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pspnet_jax.errors import UserError
from pspnet_jax.weights.foreign.name_table import shown
from pspnet_jax.weights.foreign.stored import SMALL_FLOATS, StoredArray

_LONGEST_HEADER = 100_000_000  # bytes, as the library has it
_DTYPES = {
  **{f'F{bits}': np.dtype(f'f{bits // 8}') for bits in (16, 32, 64)},
  **{f'I{bits}': np.dtype(f'i{bits // 8}') for bits in (8, 16, 32, 64)},
  **{f'U{bits}': np.dtype(f'u{bits // 8}') for bits in (8, 16, 32, 64)},
  'BOOL': np.dtype('?'),
  'BF16': SMALL_FLOATS['bfloat16'],
  'F8_E4M3': SMALL_FLOATS['float8_e4m3fn'],
  'F8_E5M2': SMALL_FLOATS['float8_e5m2'],
}


@contextmanager
def opened(path: Path) -> Iterator[dict[str, StoredArray]]:
  """The arrays by name; they can be read within the block.

  Raises:
    UserError: if it is something else, is cut short, or has a dtype that is not read.
  """
  with path.open('rb') as file:
    size = path.stat().st_size
    length = int.from_bytes(file.read(8), 'little')
    start = 8 + length
    try:
      if start > min(size, _LONGEST_HEADER):
        raise ValueError('it has no header of its length')
      header = json.loads(file.read(length))
      if not isinstance(header, dict):
        raise ValueError('its header lists no arrays')
      header.pop('__metadata__', None)
      arrays = {str(name): _array(name, entry, file, start, size) for name, entry in header.items()}
      if sum(math.prod(x.shape) * x.dtype.itemsize for x in arrays.values()) > size - start:
        raise ValueError('its arrays lie over one another')
    except UserError as e:
      raise UserError(f'{path}: {e}') from e
    except (ValueError, KeyError, TypeError, RecursionError) as e:
      reason = (str(e).splitlines() or [''])[0][:60].rstrip('.') or type(e).__name__
      raise UserError(
        f'{path} is not a .safetensors file or is cut short ({reason}): download it again.'
      ) from e
    yield arrays


def to_bytes(arrays: Mapping[str, np.ndarray], about: Mapping[str, str]) -> bytes:
  """The content of a file that holds these arrays.

  Args:
    arrays: by name; the widest come first, so that each lies where its type can be read in place.
    about: what else the header says.

  Raises:
    UserError: if an array has a dtype for which the format has no name.
  """
  names = {dtype: name for name, dtype in _DTYPES.items()}
  header: dict[str, Any] = {'__metadata__': dict(about)}
  parts, end = [], 0
  for name, array in sorted(arrays.items(), key=lambda item: (-item[1].dtype.itemsize, item[0])):
    if array.dtype not in names:
      raise UserError(f'{shown(name)} has dtype {array.dtype}, which .safetensors has not.')
    begin, end = end, end + array.nbytes
    header[name] = {
      'dtype': names[array.dtype],
      'shape': list(array.shape),
      'data_offsets': [begin, end],
    }
    parts.append(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
  text = json.dumps(header, separators=(',', ':')).encode()
  text += b' ' * (-len(text) % 8)
  return b''.join([len(text).to_bytes(8, 'little'), text, *parts])


def _array(name: str, entry: Any, file: BinaryIO, start: int, size: int) -> StoredArray:
  dtype, shape = _DTYPES.get(str(entry['dtype'])), tuple(entry['shape'])
  if dtype is None:
    raise UserError(
      f'{shown(name)} has dtype {shown(str(entry["dtype"])[:20])}, which is not read: save it as '
      'F32.'
    )
  begin, end = entry['data_offsets']
  if not all(type(n) is int and 0 <= n < 2**63 for n in (*shape, begin, end)) or len(shape) > 32:
    raise ValueError(f'{shown(name)} has no shape or place')
  if end - begin != math.prod(shape) * dtype.itemsize:
    raise ValueError(f'{shown(name)} does not have the size of its shape')
  if end > size - start:
    raise ValueError(f'{shown(name)} lies beyond the end of the file')

  def values() -> np.ndarray:
    file.seek(start + begin)
    return np.frombuffer(file.read(end - begin), dtype).reshape(shape if end > begin else (0,))

  return StoredArray(dtype, shape, values)
