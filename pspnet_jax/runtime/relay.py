"""A connection to process 0 that outlives it, for JAX's client, which would abort the process.

JAX's client of the coordination service aborts the whole process, with pages of C++, half a second
after its connection to process 0 breaks (jaxlib 0.10.2: the callback that should be called instead,
`missed_heartbeat_callback`, aborts too, by a std::bad_cast). So the client is connected to a socket
of this process, and what it says goes on from here to process 0. When process 0 is gone, the
client's side stays open, and this process learns it by a function that can end it in a sentence.
"""

from __future__ import annotations

import contextlib
import functools
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from pspnet_jax.errors import UserError

_near_sides: list[socket.socket] = []  # which stay open to the end of the process


class Relay:
  """Hands the bytes of JAX's client on to process 0, and those of process 0 back.

  It listens at a socket file in a folder that only this user can enter. No proxy that the
  environment names comes between, as it would with an address of the network.

  Args:
    host, port: where process 0 listens.
    on_lost: is called, in a thread, when process 0 has closed a connection or cannot be reached.

  Raises:
    UserError: if there is no folder for the socket file.
  """

  def __init__(self, host: str, port: int, on_lost: Callable[[], None]):
    self._target, self._on_lost = (host, port), on_lost
    self._server = socket.socket(socket.AF_UNIX)
    self._path = _bind(self._server)
    self._server.listen()
    _start(self._accept)

  @property
  def address(self) -> str:
    """The address that JAX's client connects to."""
    return f'unix:{self._path}'

  def close(self) -> None:
    """Takes no further connection; those there are stay."""
    with contextlib.suppress(OSError):
      self._server.shutdown(socket.SHUT_RDWR)
    self._server.close()
    shutil.rmtree(self._path.parent, ignore_errors=True)

  def _accept(self) -> None:
    while True:
      try:
        here, _ = self._server.accept()
      except OSError:  # closed
        return
      _near_sides.append(here)
      try:
        there = socket.create_connection(self._target, timeout=20)
      except OSError:
        self._on_lost()
        continue
      there.settimeout(None)
      there.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
      there.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
      _start(functools.partial(self._forward, here, there))
      _start(functools.partial(self._back, there, here))

  def _forward(self, here: socket.socket, there: socket.socket) -> None:
    with contextlib.suppress(OSError):
      while data := here.recv(1 << 16):
        there.sendall(data)
    with contextlib.suppress(OSError):
      there.shutdown(socket.SHUT_WR)

  def _back(self, there: socket.socket, here: socket.socket) -> None:
    with contextlib.suppress(OSError):
      while data := there.recv(1 << 16):
        here.sendall(data)
    there.close()
    self._on_lost()


def _bind(server: socket.socket) -> Path:
  """Binds it to a socket file in a new folder, and returns its path.

  That may have 107 bytes only, on a Mac 103: where the folder for temporary files, TMPDIR, has a
  long name, /tmp has it.
  """
  why: OSError | None = None
  for parent in (None, '/tmp'):
    try:
      folder = tempfile.mkdtemp(prefix='pspnet-', dir=parent)
    except OSError as e:
      why = why or e
      continue
    try:
      server.bind(f'{folder}/process0')
    except OSError as e:
      why = why or e
      shutil.rmtree(folder, ignore_errors=True)
    else:
      return Path(folder) / 'process0'
  server.close()
  raise UserError(
    f'no socket file can be made in the folder for temporary files, nor in /tmp '
    f'({(why and why.strerror) or why}): set TMPDIR to a folder with a short path.'
  )


def _start(work: Callable[[], None]) -> None:
  threading.Thread(target=work, name='relay to process 0', daemon=True).start()
