"""A folder that one process at a time works in."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import socket
import sys
from pathlib import Path

from pspnet_jax.errors import UserError, cannot_write
from pspnet_jax.runtime import streams

_NOT_OFFERED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


class FolderLock:
  """Keeps a folder for this process until `release`, or until the process ends in whatever way.

  The operating system holds the lock (flock on the file `.lock`), so that a process that died holds
  none. The file stays and says who had it last. A file system without locks is used without, after
  a warning.

  Args:
    folder: is made if need be.
    busy: what to say after the folder's name if it is taken; `{holder}` stands for who has it.

  Raises:
    UserError: if another process has it, or the file cannot be written.
  """

  def __init__(self, folder: Path, busy: str):
    self._folder, self._busy = folder.absolute(), busy
    self._path = self._folder / '.lock'
    self._fd: int | None = None
    self._released = False
    self._take()

  def release(self) -> None:
    """Gives the folder to others; again does nothing."""
    self._released = True
    self._let_go()

  def _let_go(self) -> None:
    if self._fd is not None:
      os.close(self._fd)
      self._fd = None

  def __enter__(self) -> FolderLock:
    return self

  def __exit__(self, *_: object) -> None:
    self.release()

  def __del__(self) -> None:
    if getattr(self, '_fd', None) is not None:
      self.release()

  def renew(self) -> None:
    """Takes the lock again if its file was removed, as by somebody who thought it a leftover.

    The folder is made anew if that is gone, too. Does nothing after `release`.

    Raises:
      UserError: if another process has taken the folder meanwhile, each time that this is called.
    """
    if self._released or (self._fd is not None and _same_file(self._fd, self._path)):
      return
    self._let_go()
    self._take()

  def _take(self) -> None:
    try:
      self._folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
      raise cannot_write(self._folder, e) from e
    try:
      # A link could lead to any file of the user's, which would be written over.
      flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
      fd = os.open(self._path, flags, 0o666)
    except OSError as e:
      raise cannot_write(self._path, e) from e
    try:
      fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as e:
      if e.errno not in _NOT_OFFERED:
        holder = _holder(fd)
        os.close(fd)
        raise UserError(f'{self._folder} {self._busy.format(holder=holder)}') from e
      what = f'{self._folder} cannot be locked ({e.strerror})'
      streams.show(f'Warning: {what}: start no second run there.', sys.stderr)
    self._fd = fd
    with contextlib.suppress(OSError):  # a full disk: who has it is left unsaid
      os.ftruncate(fd, 0)
      os.pwrite(fd, f'{os.getpid()} on {socket.gethostname()}\n'.encode(), 0)


def _holder(fd: int) -> str:
  text = os.pread(fd, 300, 0).decode('utf-8', 'replace')
  found = re.fullmatch(r'(\d+) on ([\w.-]+)\n', text)
  if found is None:
    return 'another process'
  if int(found[1]) == os.getpid() and found[2] == socket.gethostname():
    return 'this process itself, which has to close it first'
  return f'process {found[1]} on {found[2]}'


def _same_file(fd: int, path: Path) -> bool:
  try:
    return os.path.samestat(os.fstat(fd), os.lstat(path))
  except OSError:
    return False
