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
    self._since: float | None = None

  def failure(self) -> Exception | None:
    """What the write has failed with some seconds ago, in a sentence; any thread may ask."""
    now, error = time.monotonic(), _handled()
    self._since = None if error is None else self._since or now
    if error is None or self._since is None or now < self._since + _PATIENCE:
      return None
    try:
      with writing(self._directory):
        raise error
    except Exception as e:
      return e


def _handled() -> BaseException | None:
  """What the thread is on its way out with."""
  handled: dict[int, Any] = sys._current_exceptions()
  for thread in threading.enumerate():
    if thread.name == 'save_finalize' and (found := handled.get(thread.ident or 0)) is not None:
      found = found[1] if isinstance(found, tuple) else found  # a tuple until Python 3.12
      return cast('BaseException | None', found)
  return None
