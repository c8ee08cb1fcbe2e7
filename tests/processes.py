"""Real processes that join each other on this machine and do a line of Python, no training."""

from __future__ import annotations

import socket
import subprocess
import sys

from tests import tiny

SCRIPT = """
import sys, time
from pspnet_jax.errors import UserError
from pspnet_jax.runtime import joining, meeting, peers
port, count, index, timeout, what = sys.argv[1:]
if float(timeout) < 10:  # here somebody does not come
  meeting._FIRST_LINE, meeting._NEXT_LINES = 1, 2
try:
  with joining.joined(f'127.0.0.1:{port}', int(count), int(index), from_cluster=False,
                      timeout=float(timeout), peer_timeout=20) as others:
    others.kept = lambda: 'the checkpoint of step 20 is saved'
    print('joined', flush=True)
    exec(what)
except UserError as e:
  print('Error:', e, file=sys.stderr)
  sys.exit(e.status)
print('good end')
"""
# What never comes back by itself where another process does not come.
COLLECTIVE = """
import numpy as np
from pspnet_jax.runtime import parallel
parallel.sum_over_processes(np.array([1]))
"""


def free_port() -> int:
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    return free.getsockname()[1]


def start(
  count: int, what: dict[int, str], *, port: int | None = None, timeout: int = 200
) -> dict[int, subprocess.Popen[str]]:
  """Starts those of `count` processes that `what` has a line of Python for."""
  port = port or free_port()
  return {
    index: subprocess.Popen(
      [sys.executable, '-c', SCRIPT, *map(str, (port, count, index, timeout)), line],
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
      cwd=tiny.ROOT,
      env=tiny.environment(),
    )
    for index, line in what.items()
  }


def wait_until_joined(*processes: subprocess.Popen[str]) -> None:
  for process in processes:
    assert process.stdout is not None
    while (line := process.stdout.readline()) != 'joined\n':
      assert line, process.communicate()


def ends(processes: dict[int, subprocess.Popen[str]]) -> dict[int, tuple[int, str]]:
  """The status of each and what it said on standard error, when all have ended."""
  found = {}
  try:
    for index, process in processes.items():
      _, error = process.communicate(timeout=240)
      found[index] = process.returncode, error
  finally:
    for process in processes.values():
      process.kill()
  return found
