"""A folder of a bucket that one process at a time works in.

A bucket has no locks that end with a process. It has conditions on writing: an object is written
only if there is none, or still the one that was read. So the lock is an object that its holder
writes anew every 20 seconds; where it stays the same for 90 seconds, its holder is taken for dead.
That needs no clocks that agree. A holder that was cut off for so long while it lived finds somebody
else's lock when it comes back, and ends before it saves anything more.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

from pspnet_jax.errors import UserError
from pspnet_jax.runtime import storage, streams
from pspnet_jax.runtime.folder_lock import FolderLock

NAME = 'run.lock'
_RENEWED = 20.0  # seconds between signs of life
_PATIENCE = 90.0  # seconds without one after which a holder is dead
_LOOKED = 3.0  # seconds between two looks for one
_ANSWER = 10.0  # seconds that an answer may take
_TRIED = 30.0  # seconds after which a request is given up
_LARGEST = 1_000  # bytes: what is larger is none of ours


def lock(folder: Path, busy: str) -> FolderLock | BucketLock:
  """Keeps a folder for this process, by the means of the place where it is.

  Args:
    folder: of this computer, or of a bucket.
    busy: see `FolderLock`.

  Raises:
    UserError: if another process has it, or nothing can be written there.
  """
  return BucketLock(folder, busy) if storage.is_remote(folder) else FolderLock(folder, busy)


class BucketLock:
  """Keeps a folder of a bucket until `release`, or until a while after the process ends.

  Args:
    folder: gs://BUCKET/FOLDER.
    busy: see `FolderLock`.

  Raises:
    UserError: if another process has it, or nothing can be written there.
  """

  def __init__(self, folder: Path, busy: str):
    self._folder, self._busy = folder, busy
    self._blob = storage.blob(folder / NAME)
    self._token = secrets.token_hex(8)
    self._held, self._ended = threading.Lock(), threading.Event()
    self._lost: UserError | None = None
    self._generation: int | None = None  # of the object, while we have it
    self._renewed = time.monotonic()
    try:
      self._take()
    except Exception as e:
      raise self._said(e) from e
    self._thread = threading.Thread(target=self._keep, name='bucket-lock', daemon=True)
    self._thread.start()

  def release(self) -> None:
    """Gives the folder to others; again does nothing."""
    self._ended.set()
    with self._held:
      generation, self._generation = self._generation, None
    if generation is not None:
      with contextlib.suppress(Exception):  # it will be taken for dead
        self._blob.delete(if_generation_match=generation, timeout=_ANSWER, retry=None)

  def __enter__(self) -> BucketLock:
    return self

  def __exit__(self, *_: object) -> None:
    self.release()

  def renew(self) -> None:
    """Makes sure that the folder is still ours.

    Raises:
      UserError: if another process has taken it meanwhile.
    """
    if self._lost is None and time.monotonic() - self._renewed > _PATIENCE / 2:
      with contextlib.suppress(Exception):
        self._write_anew()
    if self._lost is not None:
      raise self._lost

  def _take(self) -> None:
    known: int | None = None  # of the holder whose signs of life we wait for
    began = time.monotonic()
    while not self._write(if_generation_match=0):
      there = self._there()
      if there is None:
        continue
      generation, about = there
      if about.get('token') == self._token:  # written, and the answer was lost on its way
        self._generation = generation
        return
      if about.get('token') in _OURS:
        raise self._is_busy('this process itself, which has to close it first')
      if known is None and not _is_dead_here(about):
        known, began = generation, time.monotonic()
        what = f'{self._folder} was in use by {_named(about)}'
        streams.show(f'{what}: waiting {_PATIENCE:.0f} s for a sign of life.', sys.stderr)
      elif known not in (None, generation):
        remove = f'if it is dead, remove {self._folder / NAME}'
        raise self._is_busy(f'{_named(about)} ({remove})')
      if known is None or time.monotonic() - began >= _PATIENCE:
        if self._write(if_generation_match=generation):
          return
      else:
        time.sleep(_LOOKED)

  def _write(self, *, if_generation_match: int) -> bool:
    """Writes the lock; False if another object is there than the one that was expected."""
    from google.api_core.exceptions import PreconditionFailed

    about = {
      'pid': os.getpid(),
      'host': socket.gethostname(),
      'machine': _machine(),
      'token': self._token,
      'time': round(time.time()),
    }
    with self._held:
      try:
        self._blob.upload_from_string(
          json.dumps(about),
          if_generation_match=if_generation_match,
          timeout=_ANSWER,
          retry=_retry(),
        )
      except PreconditionFailed:
        return False
      self._generation = self._blob.generation
      self._renewed = time.monotonic()
    _OURS.add(self._token)
    return True

  def _there(self) -> tuple[int, dict[str, Any]] | None:
    """The generation of the lock that is there and what it says; None if there is none."""
    from google.api_core.exceptions import NotFound

    there = storage.blob(self._folder / NAME)
    try:
      there.reload(timeout=_ANSWER, retry=_retry())
      content = b''
      if there.size <= _LARGEST:  # what was written since is read with it, and no harm is done
        newest = storage.blob(self._folder / NAME)
        content = newest.download_as_bytes(timeout=_ANSWER, retry=_retry())
    except NotFound:
      return None
    try:
      about = json.loads(content)
    except ValueError:
      about = None
    return int(there.generation), about if isinstance(about, dict) else {}

  def _keep(self) -> None:
    while not self._ended.wait(_RENEWED):
      with contextlib.suppress(Exception):  # the network may come back
        self._write_anew()
      if self._lost is not None:
        return

  def _write_anew(self) -> None:
    generation = self._generation
    if generation is None or self._write(if_generation_match=generation):
      return
    there = self._there()
    if there is None:  # somebody took it for a leftover
      self._write(if_generation_match=0)
    elif there[1].get('token') == self._token:
      self._generation = there[0]
    elif self._generation == generation:
      self._generation = None
      self._lost = self._is_busy(
        f'{_named(there[1])}, which has taken it while this process was not to be reached'
      )

  def _is_busy(self, holder: str) -> UserError:
    return UserError(f'{self._folder} {self._busy.format(holder=holder)}')

  def _said(self, error: Exception) -> Exception:
    if isinstance(error, UserError) or (said := storage.sentence(error, self._folder)) is None:
      return error
    return UserError(said)


_OURS: set[str] = set()  # tokens of this process's locks


def _retry() -> Any:
  from google.cloud.storage.retry import DEFAULT_RETRY

  return DEFAULT_RETRY.with_timeout(_TRIED)


def _named(about: dict[str, Any]) -> str:
  pid, host = about.get('pid'), about.get('host')
  known = isinstance(pid, int) and re.fullmatch(r'[\w.-]{1,255}', str(host))
  return f'process {pid} on {host}' if known else 'another process'


def _is_dead_here(about: dict[str, Any]) -> bool:
  """Whether the holder was a process of this very machine, and is no more."""
  pid = about.get('pid')
  if not isinstance(pid, int) or pid < 1 or not about.get('machine') == _machine() != '':
    return False
  try:
    os.kill(pid, 0)
  except ProcessLookupError:
    return True
  except OSError:
    return False
  return pid == os.getpid()  # a number that was given anew


def _machine() -> str:
  """Tells where a process number means the same: since when the machine runs, and what it sees."""
  with contextlib.suppress(OSError):
    boot = Path('/proc/sys/kernel/random/boot_id').read_text(encoding='ascii').strip()
    return f'{boot} {os.readlink("/proc/self/ns/pid")}'
  return ''
