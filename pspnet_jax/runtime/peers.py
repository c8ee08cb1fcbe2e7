"""What the processes that train together know of each other: who failed, who is lost, when to stop.

A thread of each process looks twice a second at a table that process 0 keeps. Whoever fails writes
its sentence there, and all others end by it, even where their main threads wait in a collective
operation that will never come back.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from pspnet_jax.errors import Stopped, StoppedAlone, UserError, may_come_of_a_peer
from pspnet_jax.runtime import shortages, signals, streams
from pspnet_jax.runtime.notes import Notes, Reason, Store
from pspnet_jax.runtime.same_step import SameStep

LOST = 75  # EX_TEMPFAIL of sysexits.h: there is nothing to mend, and it can be started again
_GRACE = 2.0  # seconds that a main thread has to come out of what it does by itself
_SUSPECTED = 8.0  # seconds of silence that do when a connection has broken already
_LAST_WORDS = 5.0  # seconds that process 0 waits for the others to have read why it ends
_FIRST_LINE, _NEXT_LINES = 10.0, 30.0  # seconds of waiting after which a line says so


class Peers:
  """The other processes, watched from `start` to `leave`.

  Args:
    store: keeps the table that all share.
    index, count: which process this is, and how many there are.
    timeout: seconds from whatever happens to one process within which all have ended.

  Attributes:
    stop: what all stop by.
    kept: says what is saved; called when something ends the run.
    write: the `weights.background_write` whose failure nobody else may see.
    on_stop: called, in a thread, when another process was asked to stop: with the signal, and which
      process it was.
  """

  def __init__(self, store: Store, index: int, count: int, *, timeout: float):
    self.index, self.count = index, count
    self.kept: Callable[[], str] = str
    self.write: Any = None
    self.on_stop: Callable[[signal.Signals, int], None] = lambda number, process: None
    self._notes = Notes(store)
    self.stop = SameStep(self._notes, index, count, timeout=timeout / 2)
    self._timeout = timeout
    self._period = max(0.5, count / 200)  # seconds; process 0 answers some hundred times a second
    self._over = self._suspecting = self._stop_is_known = False
    self._signal: int | None = None
    self._ending, self._told = threading.Lock(), threading.Event()
    self._reason: Reason | None = None
    self._heard = [time.monotonic()] * count  # when each was last heard of; the table is process 0
    self._beats: dict[int, str] = {}

  def start(self) -> None:
    """Starts watching. From here on SIGTERM and SIGHUP raise `StoppedAlone`."""
    global _current
    _current = self
    if threading.current_thread() is threading.main_thread():
      for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as SIGHUP is under nohup
          signal.signal(number, signals.raising(self._stopped))
    _start(self._watch)
    _start(self._judge)

  def leave(self) -> None:
    """Waits until all have come to their good end: they need each other until then."""
    began, waited, next_line, next_try = time.monotonic(), 0.0, _FIRST_LINE, 0.0
    while len(done := self._notes.of('done')) < self.count:
      if self.index not in done and waited >= next_try:
        self._notes.write(f'done/{self.index}')
        next_try = waited + 2 * self._period  # by when it has been read again, if it came
      time.sleep(0.05)
      if (waited := time.monotonic() - began) >= next_line:
        next_line += _NEXT_LINES
        missing = min(set(range(self.count)) - done.keys())
        streams.show(f'Waiting for the end of process {missing}, {waited:.0f} s.', sys.stderr)
    self._over = True
    global _current
    _current = None

  def _stopped(self, number: int) -> StoppedAlone:
    self._signal = self._signal or number
    return StoppedAlone(f'{signal.Signals(self._signal).name}: stopped.', self._signal)

  def check(self) -> None:
    """Raises `StoppedAlone` if that was raised before and taken for something else."""
    if self._signal is not None:
      raise self._stopped(self._signal)

  # --- The end, by this process

  def end_by(self, error: BaseException) -> NoReturn:
    """Ends this process by what its main thread raised, and with it all others.

    It says its sentence first. What comes of another process that failed, such as a connection that
    breaks, waits until it is known which one that was, and why.
    """
    shortage = shortages.sentence(error)
    if shortage is None:
      self._settle(error)
    self._take_over()
    logging.shutdown()
    if isinstance(error, UserError):
      sentence, status = str(error), error.status
    elif isinstance(error, KeyboardInterrupt):
      sentence, status = 'interrupted.', 128 + signal.SIGINT
    elif shortage is not None:
      sentence, status = shortage, 1
    else:
      traceback.print_exception(error)
      sentence, status = f'{type(error).__name__}: {" ".join(str(error).split())[:300]}', 1
    streams.show_sentence(f'Error: {sentence}')
    self._end_all(sentence, status)

  @contextlib.contextmanager
  def leaving_by(self, error: BaseException) -> Iterator[None]:
    """Ends this process by `error` if the block takes long: it may wait for who waits for it."""
    left = threading.Event()

    def late() -> None:
      if not left.wait(self._timeout / 3):
        self.end_by(error)

    if not isinstance(error, Stopped) or isinstance(error, StoppedAlone):
      _start(late)
    try:
      yield
    finally:
      left.set()

  def fail(self, sentence: str, status: int) -> NoReturn:
    """Ends this process, from whatever thread, and with it all others."""
    self._take_over()
    self._end_all(sentence, status)

  def _end_all(self, sentence: str, status: int) -> NoReturn:
    """The status is that of the process that failed first."""
    _end_after(_LAST_WORDS + _GRACE, status)
    kept = self.kept()
    if not kept or kept not in sentence:
      streams.show_sentence(f'All {self.count} processes end{f"; {kept}" if kept else ""}.')
    self._notes.write('failed', Reason(self.index, f'failed: {sentence}', status).text())
    with contextlib.suppress(Exception):
      self._notes.read()
      status = Reason.of(self._notes.found['failed']).status
    self._last_words(status)

  def _settle(self, error: BaseException) -> None:
    """Does not return if what the main thread has raised comes of another process."""
    if self._reason is None and may_come_of_a_peer(error):
      self._suspecting = True
      self._notes.write('suspected')
      self._told.wait(_SUSPECTED + 4 * self._period + _GRACE)
    if self._reason is not None:
      self._end()

  # --- The end, by another

  def lost(self, index: int) -> None:
    """Ends this process because another one is gone, once its main thread had time to come out."""
    if self._over:
      return
    reason = Reason(index, 'was lost: it was killed, or its machine or the network failed', LOST)
    if self.index == 0:  # it finds this for all
      self._notes.write('failed', reason.text())
    self._tell(reason)

  def _tell(self, reason: Reason) -> None:
    """Tells the main thread what has ended the run, and ends it if it does not come to the door."""
    if self._reason is None:
      self._reason = reason
      threading.excepthook = lambda args: None  # threads whose partners are gone
      self._told.set()
      time.sleep(_GRACE)
      self._end()

  def _end(self) -> NoReturn:
    self._take_over()
    reason = self._reason
    assert reason is not None
    _end_after(_LAST_WORDS + _GRACE, reason.status)
    kept = ''
    with contextlib.suppress(Exception):
      kept = self.kept()
    what = f'process {reason.index} {reason.what.rstrip(".")}'
    what += f'; {kept}' if kept and kept not in what else ''
    streams.show_sentence(f'Error: {what}: start all again.')
    self._last_words(reason.status, reason.index)

  def _last_words(self, status: int, gone: int = 0) -> NoReturn:
    self._notes.write(f'heard/{self.index}')
    until = time.monotonic() + _LAST_WORDS
    # The table ends with process 0: the others have to have read it.
    while self.index == 0 and time.monotonic() < until:
      if len(self._notes.of('heard').keys() | {0, gone} | self._silent()) >= self.count:
        break
      time.sleep(0.05)
      with contextlib.suppress(Exception):
        self._notes.read()
    streams.flush()
    streams.show_cursor()
    os._exit(status)

  def _take_over(self) -> None:
    """Makes this thread the one that ends the process; any other waits here for it."""
    while not self._ending.acquire(timeout=3600):
      pass

  # --- The threads

  def _watch(self) -> None:
    """Reads the table, and writes into it that this process is there."""
    beat = 0
    while not self._over:
      with contextlib.suppress(Exception):  # `_judge` sees it if nothing is answered
        beat += 1
        self._notes.beat(self.index, beat)
        self._notes.read()
        self._hear()
        self._act()
      time.sleep(0.05 if self.stop.is_being_agreed_on else self._period)

  def _act(self) -> None:
    found = self._notes.found
    self._suspecting |= 'suspected' in found
    if 'failed' in found and self._reason is None:
      reason = Reason.of(found['failed'])
      if reason.index != self.index:
        self._notes.write(f'heard/{self.index}')
        _start(lambda: self._tell(reason))
    number, process = self.stop.signal, self.stop.process
    if number is not None and process is not None and not self._stop_is_known:
      self._stop_is_known = True
      if process != self.index:
        self.on_stop(number, process)
    self.stop.answer()
    if (write := self.write) is not None and write.has_failed():
      self.write = None
      _start(lambda: self.end_by(write.failure()))

  def _hear(self) -> None:
    now = time.monotonic()
    self._heard[0] = now
    if self.index == 0:
      before, self._beats = self._beats, self._notes.beats()
      for index, beat in self._beats.items():
        if before.get(index) != beat:
          self._heard[index] = now

  def _judge(self) -> None:
    """Finds those that have been silent for too long: process 0 all others, these process 0."""
    looked = time.monotonic()
    while not self._over:
      time.sleep(self._period)
      now = time.monotonic()
      if now > looked + 4 * self._period + 2:  # this one itself did not run meanwhile
        self._heard = [now] * self.count
      looked = now
      if silent := self._silent() - self._notes.of('done').keys():
        self.lost(min(silent))

  def _silent(self) -> set[int]:
    patience = min(self._timeout / 2, _SUSPECTED if self._suspecting else math.inf)
    watched = range(1, self.count) if self.index == 0 else (0,)
    long_ago = time.monotonic() - patience
    return {index for index in watched if self._heard[index] < long_ago}


_current: Peers | None = None


def current() -> Peers | None:
  """The processes that this one trains together with, if there are any."""
  return _current


def _start(work: Callable[[], Any]) -> None:
  threading.Thread(target=work, name='watch over the others', daemon=True).start()


def _end_after(seconds: float, status: int) -> None:
  """Ends the process in any case: what still has to be said may wait for a disk for ever."""

  def end() -> None:
    time.sleep(seconds)
    os._exit(status)

  _start(end)
