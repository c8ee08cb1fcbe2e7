"""Opens weight files of other frameworks; nothing in a file is ever run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pspnet_jax.errors import UserError
from pspnet_jax.runtime.limits import BYTES
from pspnet_jax.weights.foreign import (
  caffemodel,
  mxnet_file,
  safetensors_file,
  torch_files,
)

_READ = 'give a .pth, .safetensors, .pdparams, .params or .caffemodel'
# How files begin, or end their names, that are not read: what they are, and what helps.
_OTHERS_BEGIN = {
  b'\x89HDF\r\n\x1a\n': 'an HDF5 file, as Keras writes them',
  b'\x93NUMPY': 'a NumPy array',
  b'version https://git-lfs': 'a pointer of Git LFS, not the file itself (git lfs pull gets it)',
  b'<!DOCTYPE': 'a web page, and not the file that was to be downloaded',
  b'<html': 'a web page, and not the file that was to be downloaded',
  b'\x1f\x8b': 'compressed by gzip (gunzip gives what is in it)',
  b'GGUF': 'a file of llama.cpp',
}
_OTHERS_END = {
  '.pdparams': 'a file of PaddlePaddle in its binary format (save it without)',
  **dict.fromkeys(('.pdiparams', '.pdopt', '.pdmodel'), 'a file of PaddlePaddle'),
  **dict.fromkeys(('.params', '.nd'), 'no list of arrays of MXNet, or one that is cut short'),
  **dict.fromkeys(('.h5', '.hdf5', '.keras'), 'a file of Keras'),
  **dict.fromkeys(('.npy', '.npz'), 'a file of NumPy'),
  **dict.fromkeys(('.pb', '.tflite', '.index', '.meta'), 'a file of TensorFlow'),
  '.data-00000-of-00001': 'a file of TensorFlow',
  '.onnx': 'a file of ONNX',
  '.mat': 'a file of MATLAB',
  '.msgpack': 'a file of Flax',
  '.prototxt': 'the description of a network in Caffe, without its weights',
  **dict.fromkeys(('.engine', '.plan', '.trt'), 'a program of TensorRT'),
}


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
  """What the file holds: arrays by name, or what they lie in, as nested dictionaries.

  The arrays are `StoredArray`s, which can be read within the block.

  Args:
    path: .safetensors and .caffemodel are told by their names, files of PyTorch, PaddlePaddle (both
      are pickles) and MXNet by their content.

  Raises:
    UserError: if it cannot be read, is cut short, or is something else; here or when an array is
      read.
  """
  try:
    size = path.stat().st_size
    if not size or not path.is_file():
      raise UserError(f'{path} is empty or no file: give a weight file.')
    if too_large := BYTES.exceeded_by(size):
      raise UserError(f'{path} has {too_large}.')
    with path.open('rb') as file:
      beginning = file.read(64)
    with _kind(path, beginning)(path) as content:
      yield content
  except OSError as e:
    raise UserError(f'cannot read {path}: {e.strerror or e}.') from e
  except MemoryError as e:
    raise UserError(
      f'{path} needs more memory than this machine has: read it on a larger one.'
    ) from e


def _kind(path: Path, beginning: bytes) -> Any:
  """The reader for a file."""
  suffix = path.suffix.lower()
  begins = next((begin for begin in _OTHERS_BEGIN if beginning.startswith(begin)), b'')
  if len(begins) <= 4:  # so short a beginning may be a length or a tag
    if suffix == '.safetensors':
      return safetensors_file.opened
    if suffix == '.caffemodel':
      return caffemodel.opened
  if beginning.startswith(mxnet_file.BEGINNING):
    return mxnet_file.opened
  what = _OTHERS_BEGIN.get(begins)
  if what is None and beginning[:1] != b'\x80' and not beginning.startswith(torch_files.ZIP):
    what = _OTHERS_END.get(suffix)
  if what is None and suffix in ('.npz', '.keras'):
    what = _OTHERS_END[suffix]
  if what is not None:
    raise UserError(f'{path} is {what}, which is not read: {_READ}.')
  return torch_files.opened
