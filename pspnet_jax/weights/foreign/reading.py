"""Reads weight files of other frameworks; nothing in a file is ever run."""

from __future__ import annotations

import json
import math
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from pspnet_jax.errors import UserError
from pspnet_jax.weights.foreign import caffemodel

LARGEST = 4 << 30  # bytes; a PSPNet-269 with its optimiser's state is below 1.5 GiB

_TORCH_SUFFIXES = ('.pth', '.pt', '.bin', '.ckpt', '.tar')
_SAFETENSORS_DTYPES = {
  'F64': np.float64,
  'F32': np.float32,
  'F16': np.float16,
  'BF16': ml_dtypes.bfloat16,
  'I64': np.int64,
  'I32': np.int32,
}


def read(path: Path) -> tuple[dict[str, np.ndarray], Mapping[str, Any]]:
  """Reads arrays by the file's own names, and what it says beside them (mmseg's `meta`).

  Args:
    path: a .pth, .safetensors or .caffemodel file.

  Raises:
    UserError: if it cannot be read, is cut short, is something else, or is a pickle that wants to
      run code.
  """
  suffix = path.suffix.lower()
  if suffix not in (*_TORCH_SUFFIXES, '.safetensors', '.caffemodel'):
    raise UserError(
      f'{path} is no weight file by its name: give a .pth, .safetensors or .caffemodel.'
    )
  try:
    size = path.stat().st_size
    if path.is_file() and 0 < size <= LARGEST:
      if suffix == '.safetensors':
        return _safetensors(path.read_bytes(), path), {}
      if suffix == '.caffemodel':
        return caffemodel.parse(path.read_bytes(), str(path)), {}
      return _torch(path)
  except OSError as e:
    raise UserError(f'cannot read {path}: {e.strerror or e}.') from e
  if size > LARGEST:
    raise UserError(f'{path} has {size:,} bytes, and {LARGEST:,} is the limit: give a weight file.')
  raise UserError(f'{path} is empty or no file: give a weight file.')


def _torch(path: Path) -> tuple[dict[str, np.ndarray], Mapping[str, Any]]:
  try:
    import torch
  except ImportError as e:
    raise UserError(
      f"reading {path} needs PyTorch: pip install 'pspnet_jax[convert]' (its CPU build will do)."
    ) from e
  if zipfile.is_zipfile(path):
    with zipfile.ZipFile(path) as archive:
      unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > LARGEST:
      raise UserError(f'{path} unpacks to {unpacked:,} bytes, and {LARGEST:,} is the limit.')
  try:
    with warnings.catch_warnings(action='ignore'):  # about what makes it fail
      content = torch.load(path, map_location='cpu', weights_only=True)
  except Exception as e:  # whatever a hostile or damaged file makes of the unpickler
    refused = re.search(r'(?:GLOBAL|instantiate class) ([\w.]+)', str(e))
    if refused:
      raise UserError(
        f'{path} is refused: its pickle asks for {refused[1]}, which could run code; save only the '
        'state_dict where it came from, or get the file from its authors.'
      ) from e
    raise UserError(
      f'{path} is cut short or no PyTorch checkpoint of arrays: download it again, or give another.'
    ) from e
  return _state_dict(content, path)


def _state_dict(content: Any, path: Path) -> tuple[dict[str, np.ndarray], Mapping[str, Any]]:
  import torch

  meta: Mapping[str, Any] = {}
  if isinstance(content, Mapping):
    for wrapper in ('state_dict', 'model'):
      if isinstance(content.get(wrapper), Mapping):
        if isinstance(content.get('meta'), Mapping):
          meta = content['meta']
        content = content[wrapper]
        break
  if not isinstance(content, Mapping) or not content:
    raise UserError(f'{path} holds no arrays by name: give a checkpoint with a state_dict.')
  arrays = {}
  for name, tensor in content.items():
    if not isinstance(tensor, torch.Tensor):
      raise UserError(
        f'{path}: {name} is a {type(tensor).__name__}, not an array: give a state_dict.'
      )
    try:
      tensor = tensor.detach()
      tensor = tensor.float() if tensor.is_floating_point() else tensor
      arrays[str(name)] = tensor.numpy()
    except (RuntimeError, TypeError) as e:
      raise UserError(
        f'{path}: {name} cannot become an array ({_first_line(e)}): give a dense state_dict.'
      ) from e
  return arrays, meta


def _safetensors(data: bytes, path: Path) -> dict[str, np.ndarray]:
  """The format is eight bytes of the header's length, a JSON header, and the arrays end to end."""
  try:
    start = 8 + int.from_bytes(data[:8], 'little')
    header = json.loads(data[8:start])
    header.pop('__metadata__', None)
    arrays = {}
    for name, entry in header.items():
      dtype = np.dtype(_SAFETENSORS_DTYPES[entry['dtype']])
      shape = tuple(int(n) for n in entry['shape'])
      begin, end = entry['data_offsets']
      count = math.prod(shape)
      if min(shape, default=0) < 0 or end - begin != count * dtype.itemsize:
        raise ValueError(f'{name} does not have the size of its shape')
      if not 0 <= begin <= end <= len(data) - start:
        raise ValueError(f'{name} lies beyond the end of the file')
      array = np.frombuffer(data, dtype, count, start + begin).reshape(shape)
      arrays[name] = array.astype(np.float32) if entry['dtype'] == 'BF16' else array
  except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
    raise UserError(
      f'{path} is not a .safetensors file or is cut short ({_first_line(e)}): download it again.'
    ) from e
  if not arrays:
    raise UserError(f'{path} holds no arrays: give a file of weights.')
  return arrays


def _first_line(e: Exception) -> str:
  return (str(e).splitlines() or [type(e).__name__])[0][:160].rstrip('.')
