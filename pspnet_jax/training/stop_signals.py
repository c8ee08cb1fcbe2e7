"""Ctrl-C, SIGTERM and SIGHUP as a question the loop asks, not an exception wherever it is."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from pspnet_jax.errors import Stopped
from pspnet_jax.runtime import peers, streams

_ASK_TO_STOP = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_PATIENCE = 2.0  # seconds that a second signal's end may take before the process is ended


class StopSignals:
  """While entered, answers the first signal that asks to stop and remembers it; a second stops.

  Those are SIGTERM, SIGINT and SIGHUP (a terminal that closes), unless they are ignored, as SIGINT
  is in the background and SIGHUP under nohup. Where processes train together a signal to one of
  them stops all at the same step; see `same_step`.

  A thread of its own answers: Python runs a handler only between two of its instructions, and the
  main thread may be compiling for a minute, or in the middle of printing another line. On a
  terminal with a progress bar the answer stands above it, since rich then owns standard error.

  Args:
    processes: how many train together. Several that do not watch each other (`peers`) leave signals
      alone: JAX's preemption service has SIGTERM, and agrees on a step (`Checkpoints.preempted`).
    after: what is finished first, for the answer; `while_doing` changes it for a while.
    owns_process: whether a second signal ends the process where it is, if the main thread does not
      come to it within two seconds. Commands may do so: what they write is whole or not there.
  """

  def __init__(self, processes: int = 1, after: str = 'this step', *, owns_process: bool = False):
    self._peers = peers.current()
    self._listen = processes == 1 or self._peers is not None
    self._after, self._owns_process = after, owns_process
    self._received: signal.Signals | None = None
    self._previous: dict[int, Any] = {}
    self._handled = self._answered = 0  # how many signals were
    self._over = threading.Event()
    self._answers: threading.Thread | None = None

  @property
  def received(self) -> signal.Signals | None:
    """The signal to stop by: of several processes the first one's."""
    common = None if self._peers is None else self._peers.stop.signal
    return self._received if common is None else common

  @property
  def requested(self) -> bool:
    return self.received is not None

  def reached(self, step: int) -> bool:
    """Whether to stop after this step: the same in all processes, which all ask it."""
    return self.requested if self._peers is None else self._peers.stop.reached(step)

  def check(self) -> None:
    """Raises Stopped if a signal has come: for long work that can be cut short."""
    if (received := self.received) is not None:
      raise Stopped(f'{received.name}: stopped.', received)

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
      for number in _ASK_TO_STOP:
        if signal.getsignal(number) != signal.SIG_IGN:
          self._previous[number] = signal.signal(number, self._remember)
      if self._peers is not None:
        try:
          self._peers.check()  # ahead of this one a signal ends the process where it is
        except Stopped:
          self._restore()
          raise
        self._peers.on_stop = self._answer_other
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
    if self._received is None:
      self._received = signal.Signals(number)
      return
    self._restore()
    signal.raise_signal(number)

  def _restore(self) -> None:
    for number, handler in self._previous.items():
      signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: set in C
    self._previous.clear()

  def _answer(self) -> None:
    """Reads the numbers of signals as they come, whatever the main thread does."""
    while numbers := self._told.recv(64):
      for number in numbers:
        if number in _ASK_TO_STOP:
          self._answer_one(signal.Signals(number))
        elif self._others != -1:  # as of a notebook's event loop
          with contextlib.suppress(OSError):
            os.write(self._others, bytes([number]))

  def _answer_other(self, received: signal.Signals, process: int) -> None:
    if self._answered == 0:
      what = f'stopping after {self._after}; a second one stops at once.'
      streams.show(f'{received.name} to process {process}: {what}', sys.stderr)

  def _answer_one(self, received: signal.Signals) -> None:
    if self._answered == 0:
      what = f'stopping after {self._after}; a second one stops at once.'
      streams.show(f'{received.name}: {what}', sys.stderr)
      if self._peers is not None:
        ask = functools.partial(self._peers.stop.ask, received)  # beside: it waits for process 0
        threading.Thread(target=ask, daemon=True).start()
    elif self._answered == 1:
      what = 'stopping at once; what is saved already stays.'
      streams.show(f'{received.name} again: {what}', sys.stderr)
    self._answered += 1
    if self._answered == 2 and self._owns_process and not self._over.wait(_PATIENCE):
      streams.show_cursor()
      if self._peers is not None:
        self._peers.fail(f'{received.name} again: stopped at once.', 128 + received)
      os._exit(128 + received)
