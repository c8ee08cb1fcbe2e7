"""What goes wrong around checkpoints, in sentences: damaged, or no room."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

from pspnet_jax.errors import UserError


class Damaged(UserError):
  """A checkpoint that cannot be read: damaged, or just being removed by the run it is of."""

  def __init__(self, checkpoint: Path, reason: str):
    super().__init__(
      f'checkpoint {checkpoint} is damaged ({reason}): move that folder elsewhere, so that the '
      'others count, or choose another one with --checkpoint.'
    )


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
    reason = str(e).splitlines()[0][:200] if str(e) else type(e).__name__
    raise Damaged(checkpoint, reason) from e


@contextlib.contextmanager
def writing(directory: Path) -> Iterator[None]:
  """Turns a failure to write into one sentence that says what is safe."""
  try:
    yield
  except (OSError, ValueError) as e:
    # tensorstore reports the operating system's errors as ValueError with the text in it.
    from_system = re.search(r'([^:]*) \[os_error_code', str(e))
    if isinstance(e, OSError):
      reason = e.strerror or str(e)
    elif from_system:
      reason = from_system[1].strip()
    else:
      raise
    reason = 'the disk is full' if 'No space left' in reason else reason
    whole = sorted(int(path.name) for path in directory.glob('*') if path.name.isdigit())
    safe = f'step {whole[-1]} is safe' if whole else 'no earlier one exists'
    raise UserError(
      f'cannot write a checkpoint to {directory}: {reason}; {safe}: make room and run the same '
      'command to go on from there.'
    ) from e


def hush_tensorstore() -> None:
  """Keeps to itself, from now on, what TensorStore's threads say after a read or write has failed.

  They go on to report to an event loop that is closed by then; the failure itself is raised.
  """
  if not isinstance(sys.unraisablehook, _AllButTensorStore):
    sys.unraisablehook = _AllButTensorStore(sys.unraisablehook)


class _AllButTensorStore:
  def __init__(self, hook: Callable[[Any], Any]):
    self._hook = hook

  def __call__(self, args: Any) -> None:
    if not str(args.exc_value).startswith(_AFTER_A_FAILURE):
      self._hook(args)


_AFTER_A_FAILURE = ('Event loop is closed', 'Encountered error while reading array index')
