"""What the processes that train together know of each other: who failed, who is lost, when to stop.

A thread of each process looks twice a second at a small table that process 0 keeps (the key-value
store of JAX's coordination service). Whoever fails writes its sentence there, and all others end by
it, even where their main threads wait in a collective operation that will never come back.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

from pspnet_jax.errors import Stopped, UserError
from pspnet_jax.runtime import streams
from pspnet_jax.runtime.plain_text import printable

LOST = 75  # EX_TEMPFAIL of sysexits.h: nothing to mend, to be started again
_NOTES, _BEATS = 'pspnet/notes/', 'pspnet/beats/'
_GRACE = 2.0  # seconds that a main thread has to come out of what it does by itself
_SUSPECTED = 8.0  # seconds of silence that do when a connection has broken already
_LAST_WORDS = 5.0  # seconds that process 0 waits for the others to have read why it ends
_FIRST_LINE, _NEXT_LINES = 10.0, 30.0  # seconds of waiting after which a line says so


class PeerFailed(UserError):
  """Another process has failed, which the main thread came to know; the watch knows the cause."""


class Store(Protocol):
  """What is used of JAX's client."""

  def key_value_set(self, key: str, value: str, allow_overwrite: bool = False) -> None: ...
  def key_value_dir_get(self, key: str) -> list[tuple[str, str]]: ...


class Peers:
  """The other processes, watched from `start` to `leave`.

  Args:
    store: the table that all share.
    index, count: which process this is, and how many there are.
    timeout: seconds from whatever happens to one process within which all have ended.

  Attributes:
    kept: says what is saved; called when something ends the run.
    on_stop: called, in a thread, with a signal and its process when another one was asked to stop.
  """

  def __init__(self, store: Store, index: int, count: int, *, timeout: float):
    self.index, self.count = index, count
    self.kept: Callable[[], str] = str
    self.on_stop: Callable[[signal.Signals, int], None] = lambda number, index: None
    self._store, self._timeout = store, timeout
    self._period = max(0.5, count / 200)  # seconds; process 0 answers some hundred times a second
    self._notes: dict[str, str] = {}
    self._suspecting = self._over = False
    self._ending, self._told = threading.Lock(), threading.Event()
    self._reason: tuple[str, int] | None = None  # the sentence and status that end this process
    self._step, self._last = threading.Condition(), -1
    self._stop_step: int | None = None
    self._heard = [time.monotonic()] * count  # when each was last heard of; the table is process 0
    self._beats: dict[str, str] = {}

  def start(self) -> None:
    """Starts watching. From here on SIGTERM and SIGHUP raise Stopped, as SIGINT interrupts."""
    global _current
    _current = self
    if threading.current_thread() is threading.main_thread():
      for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
          signal.signal(number, _raise_stopped)
    self._start(self._watch)
    self._start(self._judge)

  # --- The end

  def fail(self, sentence: str, status: int) -> NoReturn:
    """Ends this process, whose sentence is printed already, and with it all others.

    The status is that of the process that failed first.
    """
    self._take_over()
    self._deadline(_LAST_WORDS + _GRACE, status)
    kept = self.kept()
    if not (kept and kept in sentence):
      _say(f'All {self.count} processes end{f"; {kept}" if kept else ""}.')
    text = json.dumps({'index': self.index, 'sentence': sentence, 'status': status})
    with contextlib.suppress(Exception):  # another one has said so before, or the table is gone
      self._store.key_value_set(f'{_NOTES}failed', text)
    with contextlib.suppress(Exception):
      status = json.loads(self._read()['failed'])['status']
    if self.index == 0:  # the table ends with this process
      until = time.monotonic() + _LAST_WORDS
      while time.monotonic() < until and len(self._named('heard')) < self.count - 1:
        time.sleep(0.05)
        with contextlib.suppress(Exception):
          self._notes = self._read()
    _exit(status)

  def settle(self, error: BaseException) -> None:
    """Does not return if what the main thread has raised comes of another process.

    A connection that breaks is such an error: it is waited until the one at fault is known.
    """
    if self._reason is None and self._may_come_of_others(error):
      self._suspecting = True
      with contextlib.suppress(Exception):
        self._store.key_value_set(f'{_NOTES}suspected', '', allow_overwrite=True)
      self._told.wait(_SUSPECTED + 4 * self._period + _GRACE)
    if self._reason is not None:
      self._end()

  def lost(self, index: int) -> None:
    """Ends this process because another one is gone, in the time it takes to say so."""
    if not self._over:
      self._tell(
        f'process {index} was lost: it was killed, or its machine or the network failed', LOST
      )

  def leave(self) -> None:
    """Waits until all have come to their good end: they need each other until then."""
    self._note(f'done/{self.index}')
    began, said = time.monotonic(), 0.0
    while len(done := self._named('done')) < self.count:
      time.sleep(0.05)
      waited = time.monotonic() - began
      if waited >= (said + _NEXT_LINES if said else _FIRST_LINE):
        said = waited
        missing = min(set(map(str, range(self.count))) - done, key=int)
        _say(f'Waiting for the end of process {missing}, {waited:.0f} s.')
    self._over = True
    global _current
    _current = None

  # --- Stopping at the same step

  @property
  def stop_signal(self) -> signal.Signals | None:
    """The signal that one of the processes got, and all stop by."""
    note = self._notes.get('stop')
    return None if note is None else signal.Signals(int(note.split()[0]))

  def ask_to_stop(self, number: int) -> None:
    """Asks all to stop, at the same step; of several askings the first counts."""
    self._start(lambda: self._note('stop', f'{int(number)} {self.index}'))

  def reached(self, step: int) -> bool:
    """Whether all processes stop after this step; all call it for the same steps, in order.

    When one was asked to stop, all say which step they are at, and all stop after the one that
    comes after the last of these. Until that is known, none goes on.

    Raises:
      PeerFailed: if the others do not answer.
    """
    with self._step:
      self._last = step
      asked = time.monotonic()
      while 'stop' in self._notes and self._stop_step is None:
        self._step.wait(self._period)
        if time.monotonic() > asked + self._timeout:
          raise PeerFailed('the other processes do not say which step they are at.')
      return self._stop_step is not None and step >= self._stop_step

  def _agree(self) -> None:
    """Does this process's part of `reached`; the thread that watches calls it."""
    with self._step:
      if self._stop_step is None and str(self.index) not in self._named('at'):
        self._note(f'at/{self.index}', str(self._last))
      steps = [int(x) for key, x in self._notes.items() if key.startswith('at/')]
      if self._stop_step is None and len(steps) == self.count:
        self._stop_step = max(steps) + 1
      self._step.notify_all()

  # --- The threads

  def _watch(self) -> None:
    """Reads the table, and writes into it that this process is there."""
    beat = 0
    while not self._over:
      with contextlib.suppress(
        Exception
      ):  # whatever RPCs raise; `_judge` sees that none is answered
        beat += 1
        self._store.key_value_set(f'{_BEATS}{self.index}', str(beat), allow_overwrite=True)
        if self.index == 0:
          self._hear(dict(self._store.key_value_dir_get(_BEATS)))
        before, self._notes = self._notes, self._read()
        self._heard[0] = time.monotonic()
        self._suspecting |= 'suspected' in self._notes
        self._act(before)
      settling = 'stop' in self._notes and self._stop_step is None
      time.sleep(0.05 if settling else self._period)

  def _act(self, before: dict[str, str]) -> None:
    if 'failed' in self._notes:
      found = json.loads(self._notes['failed'])
      if found['index'] != self.index:
        self._note(f'heard/{self.index}')
        verb = found.get('verb', 'failed: ')
        self._tell(
          f'process {found["index"]} {verb}{found["sentence"].rstrip(".")}', found['status']
        )
    if 'stop' in self._notes:
      if 'stop' not in before:
        number, index = map(int, self._notes['stop'].split())
        if index != self.index:
          self.on_stop(signal.Signals(number), index)
      self._agree()

  def _hear(self, beats: dict[str, str]) -> None:
    """Notes who has written since the last time; process 0 does it for all."""
    for key, beat in beats.items():
      if self._beats.get(key) != beat:
        self._heard[int(key.removeprefix(_BEATS))] = time.monotonic()
    self._beats = beats

  def _judge(self) -> None:
    """Finds those that have been silent for too long: process 0 all others, these process 0."""
    looked = time.monotonic()
    while not self._over:
      time.sleep(self._period)
      now = time.monotonic()
      if now > looked + 4 * self._period + 2:  # this one was itself stopped meanwhile
        self._heard = [now] * self.count
      looked = now
      patience = self._timeout / 2
      if self._suspecting:
        patience = min(patience, _SUSPECTED)
      watched = range(1, self.count) if self.index == 0 else range(1)
      done = self._named('done')
      for index in watched:
        if now - self._heard[index] > patience and str(index) not in done:
          self._report_lost(index)
          self.lost(index)

  def _report_lost(self, index: int) -> None:
    text = {
      'index': index,
      'verb': 'was lost: ',
      'sentence': 'it was killed, or its machine or the network failed',
      'status': LOST,
    }
    if self.index == 0:
      self._note('failed', json.dumps(text))

  def _tell(self, sentence: str, status: int) -> None:
    """Lets the main thread come to the door with what has ended the run, or ends it there."""
    if self._reason is not None:
      return
    self._reason = sentence, status
    # Threads whose partners are gone have nothing to say that matters now.
    threading.excepthook = lambda args: None
    self._told.set()
    time.sleep(_GRACE)
    self._end()

  def _end(self) -> NoReturn:
    self._take_over()
    assert self._reason is not None
    sentence, status = self._reason
    self._deadline(_LAST_WORDS + _GRACE, status)
    kept = ''
    with contextlib.suppress(Exception):
      kept = self.kept()
    sentence += f'; {kept}' if kept and kept not in sentence else ''
    _say(f'Error: {sentence}: start all again to go on from there.')
    if self.index == 0:
      time.sleep(4 * self._period)  # the others read it here
    _exit(status)

  # --- The table

  def _read(self) -> dict[str, str]:
    found = self._store.key_value_dir_get(_NOTES)
    return {key.removeprefix(_NOTES): value for key, value in found}

  def _note(self, key: str, value: str = '') -> None:
    with contextlib.suppress(Exception):  # written before
      self._store.key_value_set(_NOTES + key, value)

  def _named(self, kind: str) -> set[str]:
    return {key.partition('/')[2] for key in self._notes if key.startswith(f'{kind}/')}

  def _take_over(self) -> None:
    """Makes this thread the one that ends the process; any other waits here for it."""
    if not self._ending.acquire(blocking=False):
      while True:
        time.sleep(60)

  def _deadline(self, seconds: float, status: int) -> None:
    """Ends the process in any case: what still has to be said may wait for a disk for ever."""
    self._start(lambda: (time.sleep(seconds), os._exit(status)))

  def _start(self, work: Callable[[], Any]) -> None:
    threading.Thread(target=work, name='watch over the others', daemon=True).start()

  def _may_come_of_others(self, error: BaseException) -> bool:
    chain: BaseException | None = error
    while chain is not None:
      # JAX's own error, by its name: commands that do without JAX import this module too.
      if isinstance(chain, PeerFailed) or type(chain).__name__ == 'JaxRuntimeError':
        return True
      chain = chain.__cause__ or chain.__context__
    return False


_current: Peers | None = None


def current() -> Peers | None:
  """The processes that this one trains together with, if there are any."""
  return _current


def _raise_stopped(number: int, _frame: object) -> None:
  raise Stopped(f'{signal.Signals(number).name}: stopped.', number)


def _say(sentence: str) -> None:
  streams.show_sentence(printable(sentence), sys.stderr)


def _exit(status: int) -> NoReturn:
  streams.flush()
  if sys.__stdout__ is not None and sys.__stdout__.isatty():
    print('\x1b[?25h', file=sys.__stdout__, flush=True)  # a progress bar has hidden the cursor
  os._exit(status)
