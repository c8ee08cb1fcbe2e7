"""All processes meet at process 0, in plain sight, ahead of JAX.

JAX's own client waits in silence and then aborts the process, and a number that is given twice
makes it abort all, those of a run that has long begun too. So all come to the coordinator's port
and say their numbers first; when everybody is there, that port is given free, and JAX listens.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import socket
import sys
import time
from collections.abc import Iterator, Sequence

from pspnet_jax.errors import UserError
from pspnet_jax.runtime import streams
from pspnet_jax.runtime.peers import LOST

_FIRST_LINE, _NEXT_LINES = 10.0, 30.0  # seconds of waiting after which a line says so
_GREETING, _COME, _TAKEN, _COUNT = 'pspnet', 'come', 'taken', 'count'


class NotCome(UserError):
  """A process is missing: taken away, as a rule, before all had come; a new start may do."""

  status = LOST


@dataclasses.dataclass(frozen=True)
class Place:
  """The address of process 0, and the number of this one.

  Attributes:
    host, port: where process 0 listens.
    count, index: how many processes there are, and which this one is.
    devices: those of this machine that are its own; None for all.
  """

  host: str
  port: int
  count: int
  index: int
  devices: Sequence[int] | None = None

  def __str__(self) -> str:
    return f'[{self.host}]:{self.port}' if ':' in self.host else f'{self.host}:{self.port}'


def meet(place: Place, timeout: float) -> None:
  """Waits until all processes have come; a line now and then says for whom.

  Raises:
    NotCome: if one has not come after `timeout` seconds, or has ended.
    UserError: if process 0 cannot listen, or this one's number or count is not as the others'.
  """
  if place.index == 0:
    _receive(place, timeout)
  else:
    _go(place, timeout)


def _receive(place: Place, timeout: float) -> None:
  """Process 0's part."""
  came: dict[int, socket.socket] = {}
  with contextlib.ExitStack() as open_until_the_end:
    with _listening(place.port) as server:
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
        with contextlib.suppress(OSError, ValueError):  # nobody came, or went again, or a stranger
          guest = open_until_the_end.enter_context(server.accept()[0])
          _welcome(guest, came, place.count)
        for index in [i for i, guest in came.items() if _is_gone(guest)]:
          del came[index]
    # Nobody listens any more, so that what they find at the port from now on is JAX.
    for guest in came.values():
      with contextlib.suppress(OSError):
        guest.sendall(f'{_COME}\n'.encode())


def _welcome(guest: socket.socket, came: dict[int, socket.socket], expected: int) -> None:
  """Takes the number that a guest says, or answers why it cannot stay."""
  guest.settimeout(5)
  word, _, numbers = guest.recv(100).decode('ascii', 'replace').partition(' ')
  guest.setblocking(False)
  if word != _GREETING:
    return
  index, count = map(int, numbers.split())
  if count != expected:
    guest.sendall(f'{_COUNT} {expected}\n'.encode())
  elif index == 0 or (index in came and not _is_gone(came[index])):
    guest.sendall(f'{_TAKEN}\n'.encode())
  elif 0 < index < expected:
    came[index] = guest


def _go(place: Place, timeout: float) -> None:
  """The part of all others."""
  clock, why = _Clock(place, timeout), 'nobody listens there'
  while not clock.is_over(f'process 0 ({why})'):
    try:
      with socket.create_connection((place.host, place.port), timeout=10) as host:
        host.sendall(f'{_GREETING} {place.index} {place.count}\n'.encode())
        answer, numbers = _answer(host, clock)
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
          f'--num_processes={place.count}: process 0 at {place} was given {numbers}: give all the '
          'same.'
        )
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
      word, _, rest = host.recv(100).decode('ascii', 'replace').strip().partition(' ')
    except TimeoutError:
      if clock.is_over('the others'):
        raise NotCome(
          f'not all of {clock.place.count} processes came to {clock.place} within '
          f'{clock.timeout:.0f} s: see what process 0 says.'
        ) from None
    else:
      return word, rest if rest.isdecimal() else '?'


def _until_jax_listens(place: Place, clock: _Clock) -> None:
  while True:
    try:
      socket.create_connection((place.host, place.port), timeout=10).close()
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


@contextlib.contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
  """Listens at a port of all addresses, as JAX does after it."""
  dual = socket.has_dualstack_ipv6()
  family = socket.AF_INET6 if dual else socket.AF_INET
  try:
    server = socket.create_server(('', port), family=family, dualstack_ipv6=dual, backlog=1024)
  except OSError as e:
    remedy = 'give another one to all' if e.errno == errno.EADDRINUSE else 'give another one'
    raise UserError(
      f'process 0 cannot listen at port {port} of --coordinator: {e.strerror}: {remedy}.'
    ) from e
  with server:
    yield server


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
