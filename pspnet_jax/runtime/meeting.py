"""All processes meet at process 0, in plain sight, ahead of JAX.

JAX's own client waits in silence and then aborts the process, and a number that is given twice
makes it abort all, those of a run that has long begun too. So all come to the coordinator's port
and say their numbers first; when everybody is there, that port is given free, and JAX listens.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import time
from collections.abc import Mapping, Sequence

from pspnet_jax.errors import UserError
from pspnet_jax.runtime import streams
from pspnet_jax.runtime.meeting_place import (
  FAILED,
  LONGEST,
  Failure,
  Place,
  connected,
  listening,
  said,
  split,
)
from pspnet_jax.runtime.peers import LOST

_FIRST_LINE, _NEXT_LINES = 10.0, 30.0  # seconds of waiting after which a line says so
_GREETING, _COME, _TAKEN, _COUNT = 'pspnet', 'come', 'taken', 'count'
TELLING = 30.0  # seconds for which one that fails waits for those that it has to tell


class NotCome(UserError):
  """A process is missing: taken away, as a rule, before all had come; a new start may do."""

  status = LOST


class FailedAhead(UserError):
  """Another process has failed before it came; this one ends with its status."""

  def __init__(self, failure: Failure):
    super().__init__(
      f'process {failure.index} failed before it came: {failure.sentence.rstrip(".")}: start all '
      'again.'
    )
    self.status = failure.status


def meet(place: Place, timeout: float) -> None:
  """Waits until all processes have come; a line now and then says for whom.

  Raises:
    NotCome: if one has not come after `timeout` seconds, or has ended.
    FailedAhead: if one says that it has failed.
    UserError: if process 0 cannot listen, or this one's number or count is not as the others'.
  """
  if place.index == 0:
    _receive(place, timeout)
  else:
    _go(place, timeout)


def tell_failure(place: Place, failure: Failure, timeout: float) -> None:
  """Tells the others, who wait for this process, that it has failed; for `timeout` s at most."""
  until = time.monotonic() + timeout
  if place.index == 0:
    # The port may be another's.
    with contextlib.suppress(UserError), listening(place.port) as server:
      server.settimeout(0.2)
      _tell_guests(server, {}, place.count, failure, until)
  while place.index and time.monotonic() < until:
    with contextlib.suppress(OSError), connected(place) as host:
      host.sendall(failure.line(place.count))
      host.settimeout(10)
      if host.recv(100):  # it has been heard
        return
    time.sleep(0.5)


def _tell_guests(
  server: socket.socket,
  came: Mapping[int, socket.socket],
  count: int,
  failure: Failure,
  until: float,
) -> None:
  """Tells those that came, and those that still come, what process 0 ends by."""
  told = {0, failure.index, *came}
  for guest in came.values():
    with contextlib.suppress(OSError):
      guest.sendall(failure.line(count))
  while len(told) < count and time.monotonic() < until:
    with contextlib.suppress(OSError, ValueError), server.accept()[0] as guest:
      word, rest = said(guest)
      if word in (_GREETING, FAILED):
        guest.sendall(failure.line(count))
        told |= {int(x) for x in rest.split()[:1] if int(x) < count}


def _receive(place: Place, timeout: float) -> None:
  """Process 0's part."""
  came: dict[int, socket.socket] = {}
  with contextlib.ExitStack() as open_until_the_end:
    with listening(place.port) as server:
      server.settimeout(0.2)
      clock = _Clock(place, timeout)
      while len(came) < place.count - 1:
        missing = [i for i in range(1, place.count) if i not in came]
        if clock.is_over(_named(missing)):
          raise NotCome(
            f'{_named(missing)} of {place.count} did not come to {place} within {timeout:.0f} s: '
            'check that each was started, with this --coordinator and a --process_id of its own, '
            'and see what it says.'
          )
        failure = None
        with contextlib.suppress(OSError, ValueError):  # nobody came, or went again, or a stranger
          guest = open_until_the_end.enter_context(server.accept()[0])
          failure = _welcome(guest, came, place.count)
        if failure is not None:
          _tell_guests(server, came, place.count, failure, time.monotonic() + TELLING)
          raise FailedAhead(failure)
        for index in [i for i, guest in came.items() if _is_gone(guest)]:
          del came[index]
    # Nobody listens any more, so that what they find at the port from now on is JAX.
    for guest in came.values():
      with contextlib.suppress(OSError):
        guest.sendall(f'{_COME}\n'.encode())


def _welcome(guest: socket.socket, came: dict[int, socket.socket], expected: int) -> Failure | None:
  """Takes the number that a guest says, or answers why it cannot stay; its failure, if it has."""
  word, rest = said(guest)
  guest.setblocking(False)
  if word == FAILED:
    failure = Failure.of(rest, expected)
    if failure is None or failure.index == 0:
      return None
    guest.sendall(f'{FAILED}\n'.encode())
    again = failure.index in came and not _is_gone(came[failure.index])
    return None if again else failure  # a number given twice: the first one's process is well
  if word != _GREETING:
    return None
  index, count = map(int, rest.split())
  if count != expected:
    guest.sendall(f'{_COUNT} {expected}\n'.encode())
  elif index == 0 or (index in came and not _is_gone(came[index])):
    guest.sendall(f'{_TAKEN}\n'.encode())
  elif 0 < index < expected:
    came[index] = guest
  return None


def _go(place: Place, timeout: float) -> None:
  """The part of all others."""
  clock, why = _Clock(place, timeout), 'nobody listens there'
  while not clock.is_over(f'process 0 ({why})'):
    try:
      with connected(place) as host:
        host.sendall(f'{_GREETING} {place.index} {place.count}\n'.encode())
        answer, rest = _answer(host, clock)
    except socket.gaierror as e:
      why = f'its name is not known here: {e.strerror}'
    except OSError as e:
      why = e.strerror or 'it does not answer'
    else:
      if answer == _COME:
        return _until_jax_listens(place, clock)
      if answer == _TAKEN:
        raise UserError(
          f'--process_id={place.index}: a process with this number has come to {place} already: '
          'give each its own.'
        )
      if answer == _COUNT:
        raise UserError(
          f'--num_processes={place.count}: process 0 at {place} was given '
          f'{rest if rest.isdecimal() else "?"}: give all the same.'
        )
      if answer == FAILED and (failure := Failure.of(rest, place.count)) is not None:
        raise FailedAhead(failure)
      why = 'what listens there is something else, or a run that has begun already'
    time.sleep(0.5)
  raise NotCome(
    f'process 0 did not come at {place} within {timeout:.0f} s ({why}): check that it runs, that '
    'all have the same --coordinator, and that no firewall is between.'
  )


def _answer(host: socket.socket, clock: _Clock) -> tuple[str, str]:
  """What process 0 says when all are there; nothing of sense if it is something else."""
  host.settimeout(0.2)
  while True:
    try:
      return split(host.recv(LONGEST))
    except TimeoutError:
      if clock.is_over('the others'):
        raise NotCome(
          f'not all of {clock.place.count} processes came to {clock.place} within '
          f'{clock.timeout:.0f} s: see what process 0 says.'
        ) from None


def _until_jax_listens(place: Place, clock: _Clock) -> None:
  while True:
    try:
      connected(place).close()
    except OSError as e:
      if clock.is_over('process 0'):
        raise NotCome(f'process 0 at {place} has ended when all had come: see what it says.') from e
      time.sleep(0.2)
    else:
      return


class _Clock:
  """Says now and then for whom is waited, and when that took too long."""

  def __init__(self, place: Place, timeout: float):
    self.place, self.timeout = place, timeout
    self._began, self._next_line = time.monotonic(), _FIRST_LINE

  def is_over(self, whom: str) -> bool:
    waited = time.monotonic() - self._began
    if self._next_line <= waited < self.timeout:
      self._next_line += _NEXT_LINES
      where = f'at {self.place}, {waited:.0f} of {self.timeout:.0f} s'
      streams.show(f'Waiting for {whom} {where}.', sys.stderr)
    return waited >= self.timeout


def _is_gone(guest: socket.socket) -> bool:
  try:
    return guest.recv(1, socket.MSG_PEEK) == b''
  except BlockingIOError:
    return False
  except OSError:
    return True


def _named(processes: Sequence[int]) -> str:
  shown = ', '.join(map(str, processes[:8])) + (', ...' if len(processes) > 8 else '')
  return f'process{"es" if len(processes) > 1 else ""} {shown}'
