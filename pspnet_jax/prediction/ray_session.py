"""Starts Ray for one process, or joins a cluster, without a word on the terminal."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from pspnet_jax.errors import UserError
from pspnet_jax.runtime.plain_text import printable

_ANSWERS = 60.0  # seconds a cluster may take to answer
_STORE = 256 << 20  # bytes of shared memory: what is sent are paths and rows
_QUIET = {
  'RAY_USAGE_STATS_ENABLED': '0',
  'RAY_BACKEND_LOG_LEVEL': 'fatal',
  'RAY_ENABLE_AUTO_CONNECT': '0',  # a thread that asks after the end would start another
  'RAY_DEDUP_LOGS_SKIP_REGEX': '.',  # what it would print of workers that end
}


@contextlib.contextmanager
def started(address: str | None, workers: int | None) -> Iterator[None]:
  """Starts Ray on this machine, for this process alone, or joins a cluster; and leaves it again.

  Without an address nothing listens but on 127.0.0.1. There is no dashboard, and no statistics of
  use are sent.

  Args:
    address: HOST:PORT of a cluster that this machine belongs to.
    workers: how many there are to be, if that is known.

  Raises:
    UserError: if Ray is not installed, or the cluster does not answer within a minute.
  """
  alone = {} if address else {'RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER': '0'}  # is 127.0.0.1 then
  for name, value in (_QUIET | alone).items():
    os.environ.setdefault(name, value)
  try:
    import ray
    import ray.data
  except ImportError as e:
    raise UserError("--engine=ray needs Ray: pip install 'pspnet_jax[scale]'.") from e
  for name in ('ray', 'ray.data'):
    logging.getLogger(name).setLevel(logging.CRITICAL)
  options: dict[str, Any] = {'log_to_driver': False, 'configure_logging': False}
  if address is None:
    options |= {
      'address': 'local',
      'include_dashboard': False,
      'num_cpus': max(workers or 1, os.cpu_count() or 1),
      'object_store_memory': _STORE,
      '_node_ip_address': '127.0.0.1',
    }
  else:
    _check_answers(address)
    options['address'] = address
  try:
    with _unheard():
      ray.init(**options)
  except (ConnectionError, RuntimeError, ValueError, OSError) as e:
    raise UserError(f'Ray cannot be started: {printable(str(e).strip())}') from e
  try:
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    yield
  finally:
    ray.shutdown()


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
  """Keeps from the terminal what Ray's library writes to standard error by itself."""
  sys.stderr.flush()
  before = os.dup(2)
  try:
    with open(os.devnull, 'wb') as nothing:
      os.dup2(nothing.fileno(), 2)
    yield
  finally:
    sys.stderr.flush()
    os.dup2(before, 2)
    os.close(before)


def _check_answers(address: str) -> None:
  """Raises UserError unless a cluster answers within a minute: `ray.init` may wait much longer."""
  host, _, port = address.rpartition(':')
  if not host or not port.isdecimal() or '/' in address:
    raise UserError(
      f'--address={address}: give HOST:PORT of a Ray cluster that this machine belongs to.'
    )
  try:
    socket.create_connection((host.strip('[]'), int(port)), timeout=10).close()
  except (OSError, OverflowError) as e:
    raise UserError(
      f'--address={address}: nothing answers there ({e}): start Ray on it, as by ray start --head.'
    ) from e
  code = f'import ray; ray.init(address={address!r}, log_to_driver=False); ray.shutdown()'
  try:
    tried = subprocess.run(
      [sys.executable, '-c', code], capture_output=True, text=True, timeout=_ANSWERS, check=False
    )
    said = tried.stderr.strip().rpartition('\n')[2]
    if 'InvalidAuthToken' in tried.stderr:
      said = 'it asks for a token: set RAY_AUTH_MODE=token, and put it into ~/.ray/auth_token'
  except subprocess.TimeoutExpired:
    tried, said = None, f'no answer within {_ANSWERS:g} s'
  if tried is None or tried.returncode:
    raise UserError(
      f'--address={address} cannot be joined ({printable(said)}): give the address of a cluster '
      'that this machine belongs to, with the same versions of Python and Ray.'
    )
