"""Joins the processes that train together: finds process 0, and waits for all where one sees it."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import socket
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import jax

from pspnet_jax.errors import Stopped, UserError
from pspnet_jax.runtime import streams
from pspnet_jax.runtime.peers import Peers, StoppedAlone
from pspnet_jax.runtime.relay import Relay

_FIRST_LINE, _NEXT_LINES = 10.0, 30.0  # seconds of waiting after which a line says so
_NEVER = 7 * 24 * 3600  # seconds: JAX ends a process that waits too long by aborting it
_TOGETHER = '--coordinator, --num_processes and --process_id go together: give all three.'


@contextlib.contextmanager
def joined(
  coordinator: str | None,
  count: int | None,
  index: int | None,
  *,
  from_cluster: bool,
  timeout: float = 300,
  peer_timeout: float = 60,
) -> Iterator[Peers | None]:
  """Makes this process one of several that train together; enter it before anything uses a device.

  The good end of the block waits for the good end of all, and so does its end by a signal that all
  have stopped by. Whatever else the block raises ends this process here, and all others with it, in
  a sentence (`Peers.end_by`): the interpreter's own end would wait for them for minutes.

  Args:
    coordinator: HOST:PORT of process 0.
    count: how many processes there are.
    index: which of them this is.
    from_cluster: finds out what is not given from Slurm, Open MPI, Kubernetes or a TPU pod.
    timeout: seconds to wait for all to come. They are waited for by JAX's own code, so that the
      process is ended by a thread, after one sentence, with status 1.
    peer_timeout: seconds within which all end when one of them has.

  Yields:
    The others, or None for a process alone.

  Raises:
    UserError: if only some of the three are given, something of them is wrong, or nothing can be
      found.
  """
  for name, seconds, least in (
    ('join_timeout', timeout, 1),
    ('peer_timeout', peer_timeout, 20),  # which it takes to be sure that one is gone
  ):
    if not seconds >= least:
      raise UserError(f'--{name}={seconds:g}: give at least {least} seconds.')
  place = _place(coordinator, count, index, from_cluster)
  if place is None:
    yield None
    return
  peers = _join(place, timeout, peer_timeout)
  try:
    peers.start()
    yield peers
    peers.leave()
  except (Exception, KeyboardInterrupt) as e:
    if not isinstance(e, Stopped) or isinstance(e, StoppedAlone):
      peers.end_by(e)
    peers.leave()
    raise


@dataclasses.dataclass(frozen=True)
class _Place:
  """Where process 0 is, and which process this one is."""

  host: str
  port: int
  count: int
  index: int
  devices: Sequence[int] | None  # of this machine, where each of its processes has its own

  def __str__(self) -> str:
    return f'[{self.host}]:{self.port}' if ':' in self.host else f'{self.host}:{self.port}'


def _place(
  coordinator: str | None, count: int | None, index: int | None, from_cluster: bool
) -> _Place | None:
  devices = None
  given = [value is not None for value in (coordinator, count, index)]
  if from_cluster:
    coordinator, count, index, devices = _found(coordinator, count, index)
  elif not any(given):
    return None
  elif not all(given):
    raise UserError(_TOGETHER)
  if coordinator is None or count is None or index is None:
    raise UserError(
      '--distributed: neither Slurm, nor Open MPI, Kubernetes or a TPU pod was found'
      f'{_where_not()}: say where process 0 is and which one this is, by --coordinator=HOST:PORT '
      '--num_processes=N --process_id=I.'
    )
  host, _, port = coordinator.rpartition(':')
  if not host or not port.isdecimal() or not 0 < int(port) < 65536:
    raise UserError(f'--coordinator={coordinator}: give HOST:PORT, such as node0:1234.')
  if count < 1:
    raise UserError(f'--num_processes={count}: give how many processes there are, this one too.')
  if not 0 <= index < count:
    raise UserError(
      f'--process_id={index}: {count} process(es) have the numbers 0 to {count - 1}: give each of '
      'them its own.'
    )
  return _Place(host.strip('[]'), int(port), count, index, devices)


def _found(
  coordinator: str | None, count: int | None, index: int | None
) -> tuple[str | None, int | None, int | None, Sequence[int] | None]:
  """What JAX finds out of what is not given; what Open MPI 5 tells, which JAX does not know."""
  if count is None and index is None and coordinator is not None:
    size, rank = (os.environ.get(f'OMPI_COMM_WORLD_{name}') for name in ('SIZE', 'RANK'))
    if size is not None and rank is not None:
      return coordinator, int(size), int(rank), None
  try:
    from jax._src.clusters import ClusterEnv
  except ImportError as e:
    raise UserError(_other_jax()) from e
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')  # `_where_not` says it
      return ClusterEnv.auto_detect_unset_distributed_params(
        coordinator, count, index, None, None, 60
      )
  except Exception as e:  # whatever the library of a cluster raises
    reason = ' '.join(str(e).split()) or type(e).__name__
    raise UserError(
      f'--distributed: the processes cannot be found ({reason}): mend that, or give --coordinator, '
      '--num_processes and --process_id.'
    ) from e


def _where_not() -> str:
  if 'KUBERNETES_SERVICE_HOST' in os.environ:
    return ' (Kubernetes is asked by its Python package only: pip install kubernetes)'
  if 'OMPI_COMM_WORLD_SIZE' in os.environ:
    return ' (Open MPI 5 does not tell where process 0 is: add --coordinator=HOST:PORT)'
  return ''


def _other_jax() -> str:
  return (
    f'training in several processes does not know JAX {jax.__version__}: install a version that '
    'constraints.txt names.'
  )


def _join(place: _Place, timeout: float, peer_timeout: float) -> Peers:
  # JAX's way would take SIGTERM away from Python; `Peers.reached` is ours.
  jax.config.update('jax_enable_preemption_service', False)
  waiting = _Waiting(place, timeout)
  if place.index == 0:
    _check_free(place.port)
    address = str(place)
  else:
    waiting.until_process_0_listens()
    waiting.relay = Relay(place.host, place.port, waiting.process_0_is_gone)
    address = waiting.relay.address
  try:
    jax.distributed.initialize(
      address,
      place.count,
      place.index,
      place.devices,
      cluster_detection_method='deactivate',
      initialization_timeout=_NEVER,
      heartbeat_timeout_seconds=_NEVER,  # `Peers` watches
      shutdown_timeout_seconds=round(peer_timeout),
    )
  except (ValueError, RuntimeError) as e:
    waiting.over.set()
    reason = str(e).splitlines()[0]
    if 'ALREADY_EXISTS' in reason or 'ABORTED' in reason:
      reason = f'a process {place.index} is there already: give each its own --process_id'
    raise UserError(f'cannot join the processes at {place}: {reason.rstrip(".")}.') from e
  waiting.over.set()
  try:
    from jax._src.distributed import global_state
  except ImportError as e:
    raise UserError(_other_jax()) from e
  store: Any = global_state.client
  peers = Peers(store, place.index, place.count, timeout=peer_timeout)
  waiting.peers = peers
  if waiting.relay is not None:
    waiting.relay.close()
  return peers


class _Waiting:
  """Says now and then who is waited for, and ends the process when that takes too long."""

  def __init__(self, place: _Place, timeout: float):
    self._place, self._timeout, self._began = place, timeout, time.monotonic()
    self._lacks = '' if place.index == 0 else 'nobody listens there'
    self.over = threading.Event()
    self.peers: Peers | None = None
    self.relay: Relay | None = None
    threading.Thread(target=self._wait, name='waiting for the others', daemon=True).start()

  def until_process_0_listens(self) -> None:
    while True:
      try:
        socket.create_connection((self._place.host, self._place.port), timeout=10).close()
      except socket.gaierror as e:
        self._lacks = f'its name is not known here: {e.strerror}'
      except OSError as e:
        self._lacks = e.strerror or 'it does not answer'
      else:
        self._lacks = ''
        return
      time.sleep(0.5)

  def process_0_is_gone(self) -> None:
    if self.peers is not None:
      self.peers.lost(0)
    elif not self.over.is_set():
      self._end(f'process 0 at {self._place} has ended before all had come: see what it says.')

  def _wait(self) -> None:
    place, said = self._place, 0.0
    others = f'the other {place.count - 1} of {place.count} processes'
    while not self.over.wait(0.2):
      waited = time.monotonic() - self._began
      if waited > self._timeout:
        break
      if waited >= (said + _NEXT_LINES if said else _FIRST_LINE):
        said = waited
        where = f'at {place}, {waited:.0f} of {self._timeout:.0f} s'
        whom = f'process 0 ({self._lacks})' if self._lacks else others
        streams.show(f'Waiting for {whom} {where}.', sys.stderr)
    else:
      return
    if self._lacks:
      self._end(
        f'process 0 did not come at {place} within {self._timeout:.0f} s ({self._lacks}): check '
        'that it runs, that all have the same --coordinator, and that no firewall is between.'
      )
    self._end(
      f'not all of {place.count} processes came to {place} within {self._timeout:.0f} s: check '
      'that each was started, with this --coordinator and a --process_id of its own, and see what '
      'they say.'
    )

  def _end(self, sentence: str) -> NoReturn:
    streams.show_sentence(f'Error: {sentence}', sys.stderr)
    streams.flush()
    os._exit(1)


def _check_free(port: int) -> None:
  """Raises UserError if JAX could not listen at a port, or would share it with another run."""
  family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
  with socket.socket(family) as probe:
    if family == socket.AF_INET6:
      probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
      probe.bind(('', port))
    except OSError as e:
      remedy = 'give another one to all' if e.errno == errno.EADDRINUSE else 'give another one'
      raise UserError(
        f'process 0 cannot listen at port {port} of --coordinator: {e.strerror}: {remedy}.'
      ) from e
