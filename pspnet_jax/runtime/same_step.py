"""The step after which all processes stop, when one of them was asked to."""

from __future__ import annotations

import signal
import threading
import time

from pspnet_jax.errors import PeerFailed
from pspnet_jax.runtime.notes import Notes


class SameStep:
  """Agrees on a step as JAX's preemption service does, for whatever signal, and says which it was.

  All say which step they are at, and all stop after the one that comes after the last of these.
  Until that is known none goes on, so that none is past it. (`multihost_utils.
  reached_preemption_sync_point` knows SIGTERM alone, does not tell what is being evaluated to end,
  and takes the signal away from Python.)

  Args:
    notes: what all processes read.
    index, count: which process this is, and how many there are.
    timeout: seconds to wait for the others.
  """

  def __init__(self, notes: Notes, index: int, count: int, *, timeout: float):
    self._notes, self._index, self._count, self._timeout = notes, index, count, timeout
    self._changed, self._last = threading.Condition(), -1
    self._agreed: int | None = None
    self._asked: str | None = None  # what this process wrote, or was to

  @property
  def signal(self) -> signal.Signals | None:
    """The signal that one of the processes got, and all stop by."""
    note = self._notes.found.get('stop')
    return None if note is None else signal.Signals(int(note.split()[0]))

  @property
  def process(self) -> int | None:
    """The process that got the signal."""
    note = self._notes.found.get('stop')
    return None if note is None else int(note.split()[1])

  @property
  def is_being_agreed_on(self) -> bool:
    return 'stop' in self._notes.found and self._agreed is None

  def ask(self, number: int) -> None:
    """Asks all to stop; of several askings the first counts. `answer` repeats it if it is lost."""
    self._asked = self._asked or f'{int(number)} {self._index}'
    self._notes.write('stop', self._asked)

  def reached(self, step: int) -> bool:
    """Whether all processes stop after this step; all call it for the same steps, in order.

    Raises:
      PeerFailed: if the others do not say where they are.
    """
    with self._changed:
      self._last = step
      given_up = time.monotonic() + self._timeout
      while self.is_being_agreed_on:
        self._changed.wait(0.5)
        if time.monotonic() > given_up:
          raise PeerFailed('the other processes do not say which step they are at.')
      return self._agreed is not None and step >= self._agreed

  def answer(self) -> None:
    """Says where this process is, and learns it of the others; a thread beside the main one's."""
    with self._changed:
      if self._asked is not None and 'stop' not in self._notes.found:
        self._notes.write('stop', self._asked)
      if self.is_being_agreed_on:
        self._notes.write(f'at/{self._index}', str(self._last))
        steps = self._notes.of('at').values()
        if len(steps) == self._count:
          self._agreed = max(map(int, steps)) + 1
      self._changed.notify_all()
