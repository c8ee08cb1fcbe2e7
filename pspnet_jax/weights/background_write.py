"""The write of a checkpoint in the background, where it has failed and nobody is told."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any, cast

from pspnet_jax.weights.checkpoint_faults import writing

_PATIENCE = 8.0  # seconds in which a write may still mend what it has met


class BackgroundWrite:
  """Looks at the thread that writes checkpoints into a directory.

  Orbax raises in the main thread what that one has met, but where processes write together all
  have to meet first at the write's end, and those that have not failed wait elsewhere, for the
  failed one: none of them would ever know.
  """

  def __init__(self, directory: Path):
    self._directory = directory
    self._error: BaseException | None = None
    self._since = 0.0

  def has_failed(self) -> bool:
    """Whether it has failed, some seconds ago; one thread asks this, again and again."""
    error = _handled()
    if error is not self._error:
      self._error, self._since = error, time.monotonic()
    return error is not None and time.monotonic() >= self._since + _PATIENCE

  def failure(self) -> Exception:
    """What it has failed with, in a sentence; it looks into the folder for that."""
    try:
      with writing(self._directory):
        raise self._error or RuntimeError('nothing has failed')
    except Exception as e:
      return e
    except BaseException as e:  # a task of asyncio that was cancelled
      return RuntimeError(f'{type(e).__name__}: {e}')


def _handled() -> BaseException | None:
  """What the thread is on its way out with."""
  handled: dict[int, Any] = sys._current_exceptions()
  for thread in threading.enumerate():
    if thread.name == 'save_finalize' and (found := handled.get(thread.ident or 0)) is not None:
      found = found[1] if isinstance(found, tuple) else found  # a tuple until Python 3.12
      return cast('BaseException | None', found)
  return None
