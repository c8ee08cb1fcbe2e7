"""Reads archives as their authors publish them, once it is certain that they are whole."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

from pspnet_jax.errors import UserError

_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError)


@dataclasses.dataclass(frozen=True)
class Download:
  """A file to download."""

  file: str  # its name
  url: str  # or the page that has it, behind a login
  size: str  # such as '0.9 GB'
  sha1: str = ''  # '' where none is published: then counts and checksums inside must do
  login: bool = False  # wants an account, so that only a person can download it

  def find(self, manual_dir: Path) -> Path | None:
    """The file in `manual_dir`; None if it has yet to be downloaded.

    Raises:
      UserError: if it is not there and cannot be downloaded without a login.
    """
    path = manual_dir / self.file
    if path.is_file():
      return path
    if self.login:
      raise UserError(
        f'{self.file} ({self.size}) is missing: download it from {self.url}, which wants a login, '
        f'and put it into {manual_dir}.'
      )
    return None

  def verify(self, path: Path) -> None:
    """Raises UserError unless the file is the published one."""
    if not self.sha1:
      return
    with path.open('rb') as file:
      found = hashlib.file_digest(file, 'sha1').hexdigest()
    if found != self.sha1:
      raise UserError(
        f'{path} is not the published {self.file} (sha1 {found} instead of {self.sha1}): remove it '
        f'and download it again from {self.url}.'
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
    UserError: if it is damaged; also while reading.
  """

  def __init__(self, path: Path):
    self.path = path
    self._spans: dict[str, tuple[int, int]] = {}  # offset and size of what a tar holds
    try:
      if zipfile.is_zipfile(path):
        self._zip = zipfile.ZipFile(path)
        self.names = self._zip.namelist()
        return
      with tarfile.open(path, 'r:') as tar:
        self._spans = {
          m.name.removeprefix('./'): (m.offset_data, m.size) for m in tar if m.isfile()
        }
      self.names = list(self._spans)
    except _DAMAGE as e:
      raise _damaged(path, e) from e

  def read(self, name: str) -> bytes:
    try:
      if name not in self._spans:
        return self._zip.read(name)  # which compares checksums
      offset, size = self._spans[name]
      with self.path.open('rb') as file:
        file.seek(offset)
        data = file.read(size)
    except _DAMAGE as e:
      raise _damaged(self.path, e) from e
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
    UserError: if the archive is damaged.
  """
  found = {}
  try:
    with tarfile.open(path, 'r|gz') as tar:
      for member in tar:
        match = re.fullmatch(pattern, member.name.removeprefix('./'))
        file = tar.extractfile(member) if match else None
        if match and file is not None:
          found[match[1]] = file.read()
  except _DAMAGE as e:
    raise _damaged(path, e) from e
  return found


def _damaged(path: Path, reason: object) -> UserError:
  return UserError(f'{path} is damaged or cut short ({reason}): remove it and download it again.')
