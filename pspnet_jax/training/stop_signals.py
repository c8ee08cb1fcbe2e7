"""SIGTERM and Ctrl-C as a question the training loop asks, not an exception wherever it is."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from typing import Any

from pspnet_jax.errors import Stopped
from pspnet_jax.runtime import streams


class StopSignals:
  """While entered, answers the first SIGTERM or SIGINT and remembers it; a second acts as usual.

  Args:
    listen: False leaves signals alone: where several processes train together, each must stop at
      the same step, which JAX's preemption service agrees on (`Checkpoints.preempted`).
    after: what is finished first, for the answer.
  """

  def __init__(self, listen: bool = True, after: str = 'this step'):
    self._listen, self._after = listen, after
    self.received: signal.Signals | None = None
    self._previous: dict[int, Any] = {}

  @property
  def requested(self) -> bool:
    return self.received is not None

  def check(self) -> None:
    """Raises Stopped if a signal has come: for long work that can be cut short."""
    if self.received is not None:
      raise Stopped(f'{self.received.name}: stopped.', self.received)

  def __enter__(self) -> StopSignals:
    # Outside the main thread Python cannot set handlers.
    if self._listen and threading.current_thread() is threading.main_thread():
      for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) != signal.SIG_IGN:  # as a job in the background has SIGINT
          self._previous[number] = signal.signal(number, self._remember)
    return self

  def __exit__(self, *_: object) -> None:
    self._restore()

  def _remember(self, number: int, _frame: object) -> None:
    self.received = signal.Signals(number)
    self._restore()
    # A step, or compiling it, may take a minute, and silence reads as a hang.
    answer = f'{self.received.name}: stopping after {self._after}; a second one stops at once.'
    with contextlib.suppress(RuntimeError):  # it came in the middle of another line
      streams.show(answer, sys.stderr)

  def _restore(self) -> None:
    for number, handler in self._previous.items():
      signal.signal(number, handler)
    self._previous.clear()
