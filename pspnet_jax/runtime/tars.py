"""Opens tar archives from elsewhere: a header can claim any size, and is read in one piece."""

from __future__ import annotations

import tarfile
from typing import IO, Any

LARGEST_READ = 1 << 20  # bytes; no header that says names, times and owners comes near it


class _Onward:
  """A stream that is read from front to end, and little at a time."""

  def __init__(self, stream: IO[bytes]):
    self._stream = stream

  def tell(self) -> int:
    return self._stream.tell()

  def seek(self, position: int) -> int:
    if position < self.tell():
      raise tarfile.ReadError('a file lies before its header')
    return self._stream.seek(position)

  def read(self, size: int) -> bytes:
    if not 0 <= size <= LARGEST_READ:
      raise tarfile.ReadError(f'a header of {size:,} bytes')
    return self._stream.read(size)


class _Tar(tarfile.TarFile):
  """An archive that remembers nothing of the files it has gone past: a few MB can hold millions."""

  members: list[tarfile.TarInfo]  # that are read so far

  def next(self) -> tarfile.TarInfo | None:
    self.members.clear()
    if sum(len(key) + len(value) for key, value in self.pax_headers.items()) > LARGEST_READ:
      raise tarfile.ReadError('headers for all files that are too large')
    return super().next()


def open_tar(stream: IO[bytes]) -> tarfile.TarFile:
  """Opens an archive to go through once, from a stream that can seek onward.

  Its files are read in pieces of at most LARGEST_READ bytes.

  Raises:
    tarfile.TarError: if it is none; while reading, also for a header that is too large.
  """
  bounded: Any = _Onward(stream)
  return _Tar(fileobj=bounded, mode='r')
