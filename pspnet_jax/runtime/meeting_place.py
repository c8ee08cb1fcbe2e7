"""The place where processes meet: how they listen and come there, and the lines that they say."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import re
import socket
from collections.abc import Iterator, Sequence

from pspnet_jax.errors import UserError

FAILED = 'failed'
LONGEST = 1000  # bytes of a line


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


@dataclasses.dataclass(frozen=True)
class Failure:
  """What a process that does not come tells the others.

  Attributes:
    index: which process it is.
    status: what it exits with.
    sentence: what it ended with.
  """

  index: int
  status: int
  sentence: str

  def line(self, count: int) -> bytes:
    """What it says, as one of so many processes."""
    text = f'{FAILED} {self.index} {count} {self.status} {" ".join(self.sentence.split())}'
    return text.encode()[: LONGEST - 1] + b'\n'

  @classmethod
  def of(cls, rest: str, count: int) -> Failure | None:
    """The failure that is told by what follows the word; None for words of a stranger."""
    found = re.fullmatch(r'(\d{1,9}) (\d{1,9}) (\d{1,3}) (.+)', rest)
    if found is None:
      return None
    index, of, status = map(int, found.groups()[:3])
    return cls(index, status, found[4]) if of == count > index and 0 < status < 256 else None


def connected(place: Place) -> socket.socket:
  """A connection to process 0; OSError if it does not listen."""
  return socket.create_connection((place.host, place.port), timeout=10)


@contextlib.contextmanager
def listening(port: int) -> Iterator[socket.socket]:
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


def said(guest: socket.socket) -> tuple[str, str]:
  """The first word of the line that a guest says, and the rest of it."""
  guest.settimeout(5)
  return split(guest.recv(LONGEST))


def split(line: bytes) -> tuple[str, str]:
  """A line's first word, and the rest of it."""
  word, _, rest = line.decode(errors='replace').strip().partition(' ')
  return word, rest
