"""Writes a file whole or not at all, which is how every result is written."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from pspnet_jax.errors import UserError, cannot_write


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
  """Opens a file that gets its name when the block ends; if the block raises, nothing has happened.

      with whole_file(folder / 'counts.npz') as file:
        np.savez(file, counts=counts)

  The content goes into a hidden file beside `path`, reaches the disk, and then takes the name in
  one step: whoever looks sees the old content or the new one, whenever the process or the machine
  stops. Missing folders are made. A link stays and its target is replaced, as plain writing would
  do. A device or a pipe, which nothing could replace, is written to directly.

  Raises:
    UserError: if a folder has that name, or the operating system refuses.
  """
  if path.is_dir():
    raise UserError(f'{path} is a folder, and a file is to be written there: move or rename it.')
  if path.exists() and not path.is_file():
    with _refusals_named(path), path.open('wb') as file:
      yield file
    return
  target = Path(os.path.realpath(path))
  part = target.with_name(f'.{target.name[:50]}.{secrets.token_hex(4)}.part')  # 255 bytes at most
  with _refusals_named(path, part):
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
      with part.open('xb') as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
      part.replace(target)
    finally:
      part.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes) -> None:
  """Writes text (as UTF-8) or bytes with `whole_file`."""
  with whole_file(path) as file:
    file.write(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def _refusals_named(path: Path, *others: Path) -> Iterator[None]:
  """Turns what the operating system says about `path` into a sentence.

  An error of another file, which the block may be reading, is left alone.
  """
  try:
    yield
  except OSError as e:
    ours = {path, *others, *(folder for other in others for folder in other.parents)}
    if e.filename is not None and e.filename not in map(str, ours):
      raise
    raise cannot_write(path, e) from e
