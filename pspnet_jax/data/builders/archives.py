"""Reads archives as their authors publish them, once it is certain that they are whole."""

from __future__ import annotations

import collections
import dataclasses
import gzip
import hashlib
import io
import lzma
import re
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO, NamedTuple, cast

from pspnet_jax.errors import UserError
from pspnet_jax.runtime.limits import BYTES, PIXELS
from pspnet_jax.runtime.tars import LARGEST_READ, open_tar

# What Python's readers make of damage; a RuntimeError is an encrypted file, or compression in a way
# that they do not know.
_DAMAGE = (
  *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error),
  *(EOFError, OSError, RuntimeError, ValueError, TypeError, OverflowError, LookupError),
)
_BYTES_OF_A_PIXEL = 4  # of an image that is not compressed


@dataclasses.dataclass(frozen=True)
class Download:
  """A file to download."""

  file: str  # its name, below `manual_dir`
  url: str  # or the page that has it, behind a login
  size: str  # such as '0.9 GB'
  sha1: str = ''  # '' where none is published: then counts and checksums inside must do
  md5: str = ''  # where that is published instead
  login: bool = False  # wants an account, so that only a person can download it

  def find(self, manual_dir: Path) -> Path | None:
    """The file in `manual_dir`; None if it has yet to be downloaded.

    Raises:
      UserError: if it is not there and has to be downloaded by hand.
    """
    path = manual_dir / self.file
    if path.is_file():
      return path
    if path.exists():
      raise UserError(f'{path} is no file: put {self.file} there, or remove it.')
    if self.login:
      raise UserError(
        f'{self.file} ({self.size}) is missing: download it from {self.url} by hand, and put '
        f'it into {path.parent}.'
      )
    return None

  def verify(self, path: Path) -> None:
    """Raises UserError unless the file is the published one."""
    for kind, published in (('sha1', self.sha1), ('md5', self.md5)):
      if not published:
        continue
      with path.open('rb') as file:
        found = hashlib.file_digest(file, kind).hexdigest()
      if found != published:
        raise UserError(
          f'{path} is not the published {self.file} ({kind} {found} instead of {published}): '
          f'remove it and download it again from {self.url}.'
        )


class Member(NamedTuple):
  """A file in an archive."""

  archive: Archive
  path: str

  def __str__(self) -> str:
    return f'{self.archive.path}/{self.path}'

  def read(self) -> bytes:
    return self.archive.read(self.path)


class Archive:
  """The files in a zip or an uncompressed tar; reading is safe from several threads.

  Raises:
    UserError: if it is damaged or holds two files of one name; while reading, if a file is damaged,
      encrypted, or larger than any image may be.
  """

  def __init__(self, path: Path):
    self.path = path
    self._zip: zipfile.ZipFile | None = None
    self._offsets: dict[str, int] = {}  # of what a tar holds
    try:
      if zipfile.is_zipfile(path):
        self._zip = zipfile.ZipFile(path)
        sizes = [(m.filename, m.file_size) for m in self._zip.infolist() if not m.is_dir()]
      else:
        with path.open('rb') as file, open_tar(file) as tar:
          members = [m for m in tar if m.isfile() and not m.issparse()]
        sizes = [(m.name.removeprefix('./'), m.size) for m in members]
        self._offsets = {m.name.removeprefix('./'): m.offset_data for m in members}
    except _DAMAGE as e:
      raise _damaged(path, e) from e
    _check_names(path, (name for name, _ in sizes))
    self._sizes = dict(sizes)
    self.names = list(self._sizes)

  def read(self, name: str) -> bytes:
    size = self._sizes[name]
    _check_size(self.path, name, size)
    try:
      if self._zip is not None:
        return self._zip.read(name)  # which compares checksums
      with self.path.open('rb') as file:
        file.seek(self._offsets[name])
        data = file.read(size)
    except _DAMAGE as e:
      raise _damaged(self.path, f'{name}: {e}') from e
    if len(data) != size:
      raise _damaged(self.path, f'{name} is cut short')
    return data

  def members(self, pattern: str) -> dict[str, Member]:
    """The files whose whole path fits a regular expression, by its group, sorted by that."""
    matches = ((re.fullmatch(pattern, name), name) for name in self.names)
    return dict(sorted((match[1], Member(self, name)) for match, name in matches if match))


def read_tar_gz(path: Path, pattern: str) -> dict[str, bytes]:
  """The contents of the files whose path fits a regular expression, by its group, in one pass.

  Raises:
    UserError: if the archive is damaged, holds two files of one name, or more than memory should.
  """
  found: dict[str, bytes] = {}
  names, total = [], 0
  try:
    with gzip.open(path) as stream, open_tar(cast(IO[bytes], stream)) as tar:
      for member in tar:
        name = member.name.removeprefix('./')
        match = re.fullmatch(pattern, name)
        if not match or not member.isfile():
          continue
        names.append(name)
        _check_size(path, name, member.size)
        total += member.size
        if too_much := BYTES.exceeded_by(total):
          raise UserError(f'{path} unpacks to {too_much}.')
        content = io.BytesIO()
        shutil.copyfileobj(cast(IO[bytes], tar.extractfile(member)), content, LARGEST_READ)
        found[match[1]] = content.getvalue()
  except UserError:
    raise
  except _DAMAGE as e:
    raise _damaged(path, e) from e
  _check_names(path, names)
  return found


def text_of(where: object, data: bytes) -> str:
  """The text of a file of an archive.

  Raises:
    UserError: if it is none.
  """
  try:
    return data.decode()
  except UnicodeDecodeError as e:
    raise UserError(f'{where} is no text: download the archive again.') from e


def _check_names(path: Path, names: Iterable[str]) -> None:
  """Refuses names that occur twice, where one file would hide the other, or cannot be shown."""
  counts = collections.Counter(names)
  for name, count in counts.items():
    if count > 1 or not name.isprintable():
      fault = f'holds {count} files called' if count > 1 else 'holds a file with the odd name'
      raise UserError(f'{path} {fault} {name!r}: remove it and download it again.')


def _check_size(path: Path, name: str, size: int) -> None:
  if size > _BYTES_OF_A_PIXEL * PIXELS.value:
    raise UserError(
      f'{path}/{name} unpacks to {size:,} bytes, more than an image of {PIXELS.value:,} pixels: if '
      f'that is meant, raise the limit with the environment variable {PIXELS.variable}.'
    )
  if size < 0:
    raise _damaged(path, f'{name} has a negative size')


def _damaged(path: Path, reason: object) -> UserError:
  said = ' '.join(str(reason).split()) or type(reason).__name__
  return UserError(
    f'{path} is damaged, cut short or encrypted ({said}): remove it and download it again.'
  )
