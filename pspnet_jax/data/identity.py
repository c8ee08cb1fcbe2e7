"""Tells a source from another, and from itself after its files have changed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pspnet_jax.data.spec import Source


def identity(source: Source, *, with_files: bool = True) -> dict[str, Any]:
  """What the examples of a source depend on, as far as it shows without reading them.

  The classes, the table from ids, the names, and of each file size and time of its last change. A
  source that is no `StoredLabels` tells of files by an attribute `made_from`, paths. What a source
  of one's own computes from anything else cannot be seen.

  Args:
    source: opened with the same options; those are not looked at.
    with_files: False leaves out what differs between two copies of the same files.

  Returns:
    What JSON can hold; the same as long as nothing has changed.
  """
  length = range(len(source))
  table, files, name = (getattr(source, x, None) for x in ('table', 'files', 'name'))
  paths = [Path(path) for path in getattr(source, 'made_from', ())]
  if files is not None:
    paths += [path for index in length for path in files(index)]
  found = {
    'length': len(source),
    'class_names': list(source.spec.class_names),
    'table': None if table is None else hashlib.sha256(table.tobytes()).hexdigest(),
    'names': None if name is None else _digest(str(name(index)) for index in length),
  }
  return {**found, 'files': _digest(map(_state, paths))} if with_files else found


def _state(path: Path) -> str:
  try:
    found = os.stat(path)
  except OSError:
    return f'{path} is not there'
  return f'{path} {found.st_size} {found.st_mtime_ns}'


def _digest(lines: Iterable[str]) -> str:
  found = hashlib.sha256()
  for line in lines:
    found.update(line.encode('utf-8', 'surrogateescape') + b'\0')
  return found.hexdigest()
