"""Joins the processes that train together: finds out where they are, and leads JAX there."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from pspnet_jax.errors import Stopped, StoppedAlone, UserError
from pspnet_jax.runtime import streams
from pspnet_jax.runtime.meeting import TELLING, meet, tell_failure
from pspnet_jax.runtime.meeting_place import Failure, Place
from pspnet_jax.runtime.peers import LOST, Peers
from pspnet_jax.runtime.relay import Relay

_JOINING = 45.0  # seconds that JAX may take when all have met: by 60 all have ended
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
    timeout: seconds to wait for all to come.
    peer_timeout: seconds within which all end when one of them has.

  Yields:
    The others, or None for a process alone.

  Raises:
    UserError: if only some of the three are given, something of them is wrong, or nothing can be
      found.
  """
  place = _place(coordinator, count, index, from_cluster)
  for name, seconds, least in (
    ('join_timeout', timeout, 1),
    ('peer_timeout', peer_timeout, 20),  # which it takes to be sure that one is gone
  ):
    if not seconds >= least:
      sentence = f'--{name}={seconds:g}: give at least {least} seconds.'
      if place is not None:
        _tell(place, sentence, UserError.status)
      raise UserError(sentence)
  if place is None:
    yield None
    return
  peers = _join(place, timeout, peer_timeout)
  try:
    peers.start()
    yield peers
    peers.check()
    peers.leave()
  except (Exception, KeyboardInterrupt) as e:
    if not isinstance(e, Stopped) or isinstance(e, StoppedAlone):
      peers.end_by(e)
    peers.leave()
    raise


def tell_failure_ahead(
  coordinator: str | None,
  count: int | None,
  index: int | None,
  sentence: str,
  status: int,
  *,
  from_cluster: bool,
) -> None:
  """Tells the others, if there are any, that this process has failed before it could join them.

  Raises:
    UserError: if it cannot be found out where they are, as in `joined`.
  """
  place = _place(coordinator, count, index, from_cluster)
  if place is not None:
    _tell(place, sentence, status)


def _tell(place: Place, sentence: str, status: int) -> None:
  if place.count == 1:
    return
  streams.show(f'Telling the others at {place}, for {TELLING:.0f} s at most.', sys.stderr)
  tell_failure(place, Failure(place.index, status, sentence), TELLING)


def _place(
  coordinator: str | None, count: int | None, index: int | None, from_cluster: bool
) -> Place | None:
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
  return Place(host.strip('[]'), int(port), count, index, devices)


def _found(
  coordinator: str | None, count: int | None, index: int | None
) -> tuple[str | None, int | None, int | None, Sequence[int] | None]:
  """What JAX finds out of what is not given; what Open MPI 5 tells, which JAX does not know."""
  if count is None and index is None and coordinator is not None:
    names = ('SIZE', 'RANK', 'LOCAL_RANK')
    size, rank, local = (os.environ.get(f'OMPI_COMM_WORLD_{name}') for name in names)
    if size is not None and rank is not None:
      own = None if local is None or _is_alone() else [int(local)]  # as JAX has it of Open MPI 4
      return coordinator, int(size), int(rank), own
  try:
    from jax._src.clusters import ClusterEnv
  except ImportError as e:
    raise UserError(_other_jax()) from e
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')  # `_where_not` says it
      found = ClusterEnv.auto_detect_unset_distributed_params(
        coordinator, count, index, None, None, 60
      )
      return (*found[:3], None) if _is_alone() else found
  except Exception as e:  # whatever the library of a cluster raises
    reason = ' '.join(str(e).split()) or type(e).__name__
    raise UserError(
      f'--distributed: the processes cannot be found ({reason}): mend that, or give --coordinator, '
      '--num_processes and --process_id.'
    ) from e


def _is_alone() -> bool:
  """Whether its machine has no other process of the run, for which JAX would leave devices."""
  here = os.environ.get('OMPI_COMM_WORLD_LOCAL_SIZE')
  if here is not None:  # ahead of Slurm, which may have started Open MPI's daemons, one a node
    return here == '1'
  nodes = os.environ.get('SLURM_STEP_NUM_NODES')
  return nodes is not None and nodes == os.environ.get('SLURM_NTASKS')


def _where_not() -> str:
  if 'KUBERNETES_SERVICE_HOST' in os.environ:
    return ' (Kubernetes is asked by its Python package only: pip install kubernetes)'
  if 'OMPI_COMM_WORLD_SIZE' in os.environ:
    return ' (Open MPI 5 does not tell where process 0 is: add --coordinator=HOST:PORT)'
  return ''


def _other_jax() -> str:
  import jax

  return (
    f'training in several processes does not know JAX {jax.__version__}: install a version that '
    'constraints.txt names.'
  )


def _join(place: Place, timeout: float, peer_timeout: float) -> Peers:
  import jax  # not with the module: where it is broken, the others are told from here

  # JAX's way would take SIGTERM away from Python; `SameStep.reached` is ours.
  jax.config.update('jax_enable_preemption_service', False)
  try:
    meet(place, timeout)
  except KeyboardInterrupt:
    _tell(place, 'interrupted.', 128 + signal.SIGINT)
    raise
  guard = _Guard(place)
  relay = None
  if place.index > 0:
    relay = Relay(place.host, place.port, guard.process_0_is_gone)
  guard.start()
  try:
    jax.distributed.initialize(
      str(place) if relay is None else relay.address,
      place.count,
      place.index,
      place.devices,
      cluster_detection_method='deactivate',
      initialization_timeout=_NEVER,
      heartbeat_timeout_seconds=_NEVER,  # `Peers` watches
      shutdown_timeout_seconds=round(peer_timeout),
    )
  except (ValueError, RuntimeError) as e:
    guard.failed()
    reason = str(e).splitlines()[0].rstrip('.')
    raise UserError(f'cannot join the processes at {place}: {reason}.') from e
  try:
    from jax._src.distributed import global_state
  except ImportError as e:
    raise UserError(_other_jax()) from e
  store: Any = global_state.client
  peers = Peers(store, place.index, place.count, timeout=peer_timeout)
  guard.joined(peers)
  if relay is not None:
    relay.close()
  return peers


class _Guard:
  """Ends the process in a sentence where JAX, once all have met, does not join them."""

  def __init__(self, place: Place):
    self._place = place
    self._over = threading.Event()
    self._peers: Peers | None = None

  def start(self) -> None:
    threading.Thread(target=self._wait, name='joining', daemon=True).start()

  def joined(self, peers: Peers) -> None:
    self._peers = peers
    self._over.set()

  def process_0_is_gone(self) -> None:
    if self._peers is not None:
      self._peers.lost(0)
    elif not self._over.is_set():
      self._end(f'process 0 at {self._place} has ended when all had come: see what it says.')

  def failed(self) -> None:
    self._over.set()

  def _wait(self) -> None:
    if not self._over.wait(_JOINING):
      self._end(f'one of {self._place.count} processes has ended when all had come: see which one.')

  def _end(self, sentence: str) -> NoReturn:
    streams.show_sentence(f'Error: {sentence}')
    os._exit(LOST)
