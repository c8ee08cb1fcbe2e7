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
from pspnet_jax.runtime.files import is_link
from pspnet_jax.runtime.plain_text import printable

COMMITTED = 'commit_success.txt'  # which Orbax writes last


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
    raise_refusal(e, checkpoint)
    reason = str(e).splitlines()[0][:200] if str(e) else type(e).__name__
    raise Damaged(checkpoint, reason) from e


def raise_refusal(error: Exception, checkpoint: Path) -> None:
  """Raises a sentence where a disk or a bucket refuses to be read, which is no damage.

  Raises:
    OSError: if this process may open no more files.
    UserError: for other things that the next attempt may not meet.
  """
  if (refused := storage.sentence(error, checkpoint)) is not None:
    raise UserError(refused) from error
  for e in storage.chain(error):
    if (number := _error_number(e)) in _TOO_MANY_FILES:
      raise OSError(number, os.strerror(number)) from error
    if not _is_of_content(e, number):
      where = getattr(e, 'filename', None) or checkpoint
      why = os.strerror(number) if number else str(e) or type(e).__name__
      raise UserError(
        f'{printable(str(where))} cannot be read ({printable(why)}), so that nobody knows whether '
        'the checkpoint is damaged: mend that, and run the same command again.'
      ) from error


def _is_of_content(error: BaseException, number: int | None) -> bool:
  """Whether an error can come of what a checkpoint holds or lacks, and not of the disk."""
  if number is not None:
    return number in _OF_CONTENT
  gone = FileNotFoundError | NotADirectoryError | IsADirectoryError | UnicodeError | EOFError
  return isinstance(error, gone) or not isinstance(error, OSError)


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
  """The latest step whose checkpoint was written to its end."""
  return max((int(path.name) for path in steps_in(directory)), default=None)


def steps_in(directory: Path) -> list[Path]:
  """The folders of a directory, and links, that are named after steps, and written to their end.

  On a disk, such a one alone has its number as name; in a bucket, where nothing is renamed, a file
  says it, and Orbax removes those without.

  Raises:
    UserError: if it cannot be listed.
  """
  try:
    named = [path for path in directory.iterdir() if re.fullmatch('[0-9]+', path.name)]
  except FileNotFoundError:
    return []
  except OSError as e:
    raise UserError(f'cannot read {directory}: {e.strerror or e}.') from e
  if storage.is_remote(directory):
    return [path for path in named if (path / COMMITTED).exists()]
  return [path for path in named if is_link(path) or path.is_dir()]


def kept_in(directory: Path) -> str:
  """Says what is saved in a directory of checkpoints; it raises nothing."""
  try:
    step = latest_whole(directory)
  except Exception:  # of the disk, or the network
    return 'what was saved before is where it was'
  return 'no checkpoint was saved' if step is None else f'the checkpoint of step {step} is saved'


def _safe(directory: Path) -> str:
  """Says which checkpoint is whole."""
  try:
    latest = latest_whole(directory)
  except Exception:  # of the same network
    return 'what was saved before is safe'
  return 'no earlier one exists' if latest is None else f'step {latest} is safe'


def _error_number(error: BaseException) -> int | None:
  """The operating system's number; TensorStore has it in the text of a ValueError."""
  found = re.search(r"\[os_error_code='(\d+)'", str(error))
  return int(found[1]) if found else getattr(error, 'errno', None)


_TOO_MANY_FILES = (errno.EMFILE, errno.ENFILE)
# What is not there, is of another kind, or has an impossible name, as a damaged file may say.
_OF_CONTENT = (
  errno.ENOENT,
  errno.ENOTDIR,
  errno.EISDIR,
  errno.ENAMETOOLONG,
  errno.EINVAL,
  errno.ELOOP,
)
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
