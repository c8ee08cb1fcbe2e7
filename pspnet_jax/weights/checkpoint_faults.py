"""What goes wrong around checkpoints, in sentences: damaged, or no room."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

from pspnet_jax.errors import UserError
from pspnet_jax.runtime import storage

_COMMITTED = 'commit_success.txt'  # which Orbax writes last


class Damaged(UserError):
  """A checkpoint that cannot be read: damaged, or just being removed by the run it is of.

  Attributes:
    folder: its.
    reason: what is wrong.
  """

  def __init__(self, folder: Path, reason: str, remedy: str = 'move that folder elsewhere'):
    super().__init__(f'checkpoint {folder} is damaged ({reason}): {remedy}.')
    self.folder, self.reason = folder, reason


@contextlib.contextmanager
def reading(checkpoint: Path) -> Iterator[None]:
  """Turns whatever a damaged checkpoint raises into `Damaged`.

  TensorStore raises plain Exceptions. What says nothing of the file is left alone.
  """
  try:
    yield
  except (UserError, MemoryError, jax.errors.JaxRuntimeError):
    raise
  except Exception as e:
    if (number := _error_number(e)) in _TOO_MANY_FILES:
      raise OSError(number, os.strerror(number)) from e
    if (refused := storage.sentence(e, checkpoint)) is not None:
      raise UserError(refused) from e
    reason = str(e).splitlines()[0][:200] if str(e) else type(e).__name__
    raise Damaged(checkpoint, reason) from e


@contextlib.contextmanager
def writing(directory: Path) -> Iterator[None]:
  """Turns a failure to write into one sentence that says what is safe."""
  try:
    yield
  except UserError:
    raise
  except Exception as e:
    number, refused = _error_number(e), storage.sentence(e, directory)
    if refused is not None:
      raise UserError(f'{refused.rstrip(".")}; {_safe(directory)}.') from e
    if not isinstance(e, OSError) and (number is None or not isinstance(e, ValueError)):
      raise
    reason = os.strerror(number) if number else str(e)
    safe = _safe(directory)
    raise UserError(
      f'cannot write a checkpoint to {directory}: {_REASONS.get(number, reason)}; {safe}: '
      f'{_REMEDIES.get(number, "mend that")} and run the same command to go on from there.'
    ) from e


def latest_whole(directory: Path) -> int | None:
  """The latest step whose checkpoint is whole: on a disk, such a one alone has its number as name.

  In a bucket, where nothing is renamed, a file says it.
  """
  whole = [path for path in directory.glob('*') if path.name.isdigit()]
  if storage.is_remote(directory):
    whole = [path for path in whole if (path / _COMMITTED).exists()]
  return max((int(path.name) for path in whole), default=None)


def _safe(directory: Path) -> str:
  """Says which checkpoint is whole."""
  try:
    latest = latest_whole(directory)
  except Exception:  # of the same network
    return 'what was saved before is safe'
  return 'no earlier one exists' if latest is None else f'step {latest} is safe'


def _error_number(error: Exception) -> int | None:
  """The operating system's number; TensorStore has it in the text of a ValueError."""
  found = re.search(r"\[os_error_code='(\d+)'", str(error))
  return int(found[1]) if found else getattr(error, 'errno', None)


_TOO_MANY_FILES = (errno.EMFILE, errno.ENFILE)
_REASONS: dict[int | None, str] = {errno.ENOSPC: 'the disk is full'}
_REMEDIES: dict[int | None, str] = {
  **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), 'make room'),
  **dict.fromkeys(_TOO_MANY_FILES, 'raise ulimit -n'),
}


def hush_tensorstore() -> None:
  """Keeps to itself, from now on, what TensorStore's threads say after a read or write has failed.

  They go on to report to an event loop that is closed by then; the failure itself is raised.
  """
  if not isinstance(sys.unraisablehook, _AllButTensorStore):
    sys.unraisablehook = _AllButTensorStore(sys.unraisablehook)


class _AllButTensorStore:
  # Here, since the names of a module are gone when the interpreter ends.
  _after_a_failure = ('Event loop is closed', 'Encountered error while reading array index')

  def __init__(self, hook: Callable[[Any], Any]):
    self._hook = hook

  def __call__(self, args: Any) -> None:
    if not str(args.exc_value).startswith(self._after_a_failure):
      self._hook(args)
