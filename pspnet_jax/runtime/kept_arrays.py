"""Keeps arrays in a file together with the question that they answer.

What was counted once is used again only as the answer to the very same question, and only if the
file is as it was written.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pspnet_jax.runtime.files import whole_file

_KEY = 'key'


def keep_arrays(path: Path, question: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
  """Writes numbers by name, whole or not at all.

  Args:
    path: the file, an .npz.
    question: everything that the arrays depend on, as JSON would have it.
    arrays: numbers by name.

  Raises:
    UserError: if it cannot be written.
  """
  with whole_file(path) as file:
    stored: dict[str, Any] = {**arrays, _KEY: np.array(_key(question, arrays))}
    np.savez(file, **stored)


def kept_arrays(path: Path, question: Mapping[str, Any]) -> dict[str, np.ndarray] | None:
  """Reads what `keep_arrays` wrote for this question.

  Returns:
    The arrays; None if there are none, for another question or damaged in any way. Nothing in the
    file can make it run code, or take more memory than a few times the file's size.
  """
  # NumPy and zipfile raise some ten kinds of errors on damaged files, and all mean the same here.
  with contextlib.suppress(Exception), path.open('rb') as file:
    size = file.seek(0, os.SEEK_END)
    with zipfile.ZipFile(file) as archive:
      if any(x.compress_type or x.file_size > size for x in archive.infolist()):
        return None  # not ours, and perhaps much larger than it looks
    file.seek(0)
    with np.load(file, allow_pickle=False) as stored:
      arrays = {name: stored[name] for name in stored.files if name != _KEY}
      if str(stored[_KEY]) == _key(question, arrays):
        return arrays
  return None


def _key(question: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
  """A digest of the question and of the answer."""
  found = hashlib.sha256(json.dumps(question, sort_keys=True, default=str).encode())
  for name, x in sorted(arrays.items()):
    found.update(f'\0{name} {x.dtype.str} {x.shape}\0'.encode())
    found.update(np.ascontiguousarray(x).tobytes())
  return found.hexdigest()
