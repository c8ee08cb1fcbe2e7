"""SIGTERM and Ctrl-C as a question the training loop asks, not an exception wherever it is."""

from __future__ import annotations

import signal
import threading
from typing import Any

from pspnet_jax.errors import Stopped


class StopSignals:
  """While entered, remembers the first SIGTERM or SIGINT; a second one acts as usual."""

  def __init__(self):
    self.name: str | None = None  # of the signal that came
    self._previous: dict[int, Any] = {}

  @property
  def requested(self) -> bool:
    return self.name is not None

  def check(self) -> None:
    """Raises Stopped if a signal has come: for long work that can be cut short."""
    if self.requested:
      raise Stopped(f'{self.name}: stopped.')

  def __enter__(self) -> StopSignals:
    if threading.current_thread() is threading.main_thread():  # elsewhere signals cannot be set
      for number in (signal.SIGTERM, signal.SIGINT):
        self._previous[number] = signal.signal(number, self._remember)
    return self

  def __exit__(self, *_: object) -> None:
    self._restore()

  def _remember(self, number: int, _frame: object) -> None:
    self.name = signal.Signals(number).name
    self._restore()

  def _restore(self) -> None:
    for number, handler in self._previous.items():
      signal.signal(number, handler)
    self._previous.clear()
