"""Writes a file whole or not at all, which is how every result is written."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from pspnet_jax.errors import UserError, cannot_write
from pspnet_jax.runtime import storage


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
  """Opens a file that gets its name when the block ends; if the block raises, nothing has happened.

      with whole_file(folder / 'counts.npz') as file:
        np.savez(file, counts=counts)

  The content goes into a hidden file beside `path`, reaches the disk, and then takes the name in
  one step: whoever looks sees the old content or the new one, whenever the process or the machine
  stops. Missing folders are made. A link stays and its target is replaced, as plain writing would
  do. A device or a pipe, which nothing could replace, is written to directly. In a bucket, where
  writing an object is one step anyway, it is kept in memory until the block ends.

  Raises:
    UserError: if a folder has that name, or the operating system or the bucket refuses.
  """
  if storage.is_remote(path):
    with io.BytesIO() as content:
      yield content
      _send(path, content.getvalue())
    return
  _check_name(path)
  if _takes_all(path):
    with _refusals_named(path), path.open('wb') as file:
      yield file
    return
  target, part = _part_of(path)
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
  r"""Writes text (as UTF-8) or bytes with `whole_file`.

  Bytes of file names that are not UTF-8, which Python holds as halves of characters, become escapes
  such as \udce9; within a string of JSON they are what they were.
  """
  with whole_file(path) as file:
    file.write(_encoded(content))


def check_writable(path: Path) -> None:
  """Raises UserError if `whole_file` cannot write there, as far as can be told before long work.

  Nothing is written. Missing folders are made later, in the nearest one that is there.
  """
  folder = Path(os.path.realpath(path)).parent
  while not os.path.exists(folder):
    folder = folder.parent
  if not folder.is_dir():
    raise cannot_write(path, NotADirectoryError(errno.ENOTDIR, f'{folder} is not a folder'))
  target = path if os.path.exists(path) and not os.path.isfile(path) else folder
  if not os.access(target, os.W_OK | (os.X_OK if target == folder else 0)):
    raise cannot_write(path, PermissionError(errno.EACCES, f'nothing may be written to {target}'))
  _check_name(path)


def write_together(contents: Mapping[Path, str | bytes | None]) -> None:
  """Writes files that belong together: all of them or, if one cannot be written, none.

  All reach the disk before the first takes its name. What is None is removed. In a bucket, where
  each is written alone, the first is removed before the others are written, and written last:
  whoever goes by the first finds the others of the same time.

  Raises:
    UserError: as `whole_file`.
  """
  first = next(iter(contents), None)
  if first is not None and storage.is_remote(first):
    for path, content in [(first, None), *reversed(list(contents.items()))]:
      _send(path, None if content is None else _encoded(content))
    return
  parts: list[tuple[Path, Path, Path]] = []
  try:
    for path, content in contents.items():
      _check_name(path)
      if content is None or _takes_all(path):
        continue
      target, part = _part_of(path)
      with _refusals_named(path, part):
        target.parent.mkdir(parents=True, exist_ok=True)
        parts.append((path, target, part))
        with part.open('xb') as file:
          file.write(_encoded(content))
          file.flush()
          os.fsync(file.fileno())
    for path, target, part in parts:
      with _refusals_named(path, part):
        part.replace(target)
  finally:
    for _, _, part in parts:
      part.unlink(missing_ok=True)
  for path, content in contents.items():
    if content is None:
      path.unlink(missing_ok=True)
    elif _takes_all(path):
      write_whole(path, content)


def _check_name(path: Path) -> None:
  if path.is_dir():
    raise UserError(f'{path} is a folder, and a file is to be written there: move or rename it.')


def _takes_all(path: Path) -> bool:
  """Whether it is a device or a pipe, which nothing could replace."""
  return path.exists() and not path.is_file()


def _part_of(path: Path) -> tuple[Path, Path]:
  """The file that is written, which a link leads to, and the hidden one it is until then."""
  target = Path(os.path.realpath(path))
  # A name has 255 bytes at most.
  return target, target.with_name(f'.{target.name[:50]}.{secrets.token_hex(4)}.part')


def _send(path: Path, content: bytes | None) -> None:
  """Writes an object of a bucket, or removes it."""
  with storage.writing(path):
    if content is None:
      path.unlink(missing_ok=True)
    else:
      path.write_bytes(content)


def _encoded(content: str | bytes) -> bytes:
  return content.encode(errors='backslashreplace') if isinstance(content, str) else content


def remove_leftovers(folder: Path) -> None:
  """Removes what `whole_file` left behind in a folder when the process was killed.

  Only for a folder in which nobody else is writing: see `folder_lock`. A bucket has none.
  """
  if storage.is_remote(folder):
    return
  for path in folder.glob('.*.part'):
    with contextlib.suppress(OSError):
      path.unlink()


def is_link(path: Path) -> bool:
  """Whether it is a link, which nothing in a bucket is."""
  return not storage.is_remote(path) and path.is_symlink()


def refuse_links(folder: Path, names: Iterable[str]) -> None:
  """Raises UserError if one of these files of a folder is a link.

  For a folder that may be somebody else's work, as one that was unpacked from an archive: writing
  under a name of ours must not write over another file of the user's. Links that the user names are
  followed, and so are folders that are links.
  """
  for name in names:
    if is_link(folder / name):
      raise UserError(
        f'{folder / name} is a link, and what it leads to would be written over: remove it, or '
        'give another folder.'
      )


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
