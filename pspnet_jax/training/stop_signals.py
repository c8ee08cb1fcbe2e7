"""SIGTERM and Ctrl-C as a question the training loop asks, not an exception wherever it is."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from pspnet_jax.errors import Stopped
from pspnet_jax.runtime import streams

_PATIENCE = 2.0  # seconds that a second signal's end may take before the process is ended


class StopSignals:
  """While entered, answers the first SIGTERM or SIGINT and remembers it; a second acts as usual.

  A thread of its own answers: Python runs a handler only between two of its instructions, and the
  main thread may be compiling for a minute, or in the middle of printing another line. On a
  terminal with a progress bar the answer stands above it, since rich then owns standard error.

  Args:
    listen: False leaves signals alone: where several processes train together, each must stop at
      the same step, which JAX's preemption service agrees on (`Checkpoints.preempted`).
    after: what is finished first, for the answer; `while_doing` changes it for a while.
    owns_process: whether a second signal ends the process where it is, if the main thread does not
      come to it within two seconds. Commands may do so: what they write is whole or not there.
  """

  def __init__(self, listen: bool = True, after: str = 'this step', *, owns_process: bool = False):
    self._listen, self._after, self._owns_process = listen, after, owns_process
    self.received: signal.Signals | None = None
    self._previous: dict[int, Any] = {}
    self._handled = self._answered = 0  # how many signals were
    self._over = threading.Event()
    self._answers: threading.Thread | None = None

  @property
  def requested(self) -> bool:
    return self.received is not None

  def check(self) -> None:
    """Raises Stopped if a signal has come: for long work that can be cut short."""
    if self.received is not None:
      raise Stopped(f'{self.received.name}: stopped.', self.received)

  @contextlib.contextmanager
  def while_doing(self, after: str) -> Iterator[None]:
    """Says what a signal that comes in this block waits for."""
    before, self._after = self._after, after
    try:
      yield
    finally:
      self._after = before

  def __enter__(self) -> StopSignals:
    # Outside the main thread Python cannot set handlers.
    if self._listen and threading.current_thread() is threading.main_thread():
      for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) != signal.SIG_IGN:  # as a job in the background has SIGINT
          self._previous[number] = signal.signal(number, self._remember)
      self._told, self._tells = socket.socketpair()
      self._tells.setblocking(False)
      self._others = signal.set_wakeup_fd(self._tells.fileno(), warn_on_full_buffer=False)
      self._answers = threading.Thread(target=self._answer, name='stop signals', daemon=True)
      self._answers.start()
    return self

  def __exit__(self, *_: object) -> None:
    if self._answers is None:
      return
    self._over.set()
    self._restore()
    signal.set_wakeup_fd(self._others)
    self._tells.close()  # which ends the thread, once it has answered
    self._answers.join()
    self._told.close()

  def _remember(self, number: int, _frame: object) -> None:
    self._handled += 1
    # So that the answer is about what was going on. Not for ever: this may have come in the middle
    # of another line, whose stream the thread waits for.
    given_up = time.monotonic() + 1.0
    while self._answered < self._handled and time.monotonic() < given_up:
      time.sleep(0.001)
    if self.received is None:
      self.received = signal.Signals(number)
      return
    self._restore()
    signal.raise_signal(number)

  def _restore(self) -> None:
    for number, handler in self._previous.items():
      signal.signal(number, handler)
    self._previous.clear()

  def _answer(self) -> None:
    """Reads the numbers of signals as they come, whatever the main thread does."""
    while numbers := self._told.recv(64):
      for number in numbers:
        if number in (signal.SIGTERM, signal.SIGINT):
          self._answer_one(signal.Signals(number))
        elif self._others != -1:  # as of a notebook's event loop
          with contextlib.suppress(OSError):
            os.write(self._others, bytes([number]))

  def _answer_one(self, received: signal.Signals) -> None:
    if self._answered == 0:
      what = f'stopping after {self._after}; a second one stops at once.'
      streams.show(f'{received.name}: {what}', sys.stderr)
    elif self._answered == 1:
      what = 'stopping at once; what is saved already stays.'
      streams.show(f'{received.name} again: {what}', sys.stderr)
    self._answered += 1
    if self._answered == 2 and self._owns_process and not self._over.wait(_PATIENCE):
      if sys.__stdout__ is not None and sys.__stdout__.isatty():
        print('\x1b[?25h', file=sys.__stdout__, flush=True)  # rich hides the cursor
      os._exit(128 + received)
