"""Parses or runs command lines of `pspnet`, each in a process of its own, all from one import.

A server, `python -m tests.command_lines`, imports the commands once, which takes seconds, and is
forked for each `Job` that it reads, in JSON on a line; it answers with a line of exit status,
stdout and stderr. A command that is not run is parsed by its own parser, and ends then. The server
itself starts nothing of JAX, so that children are free to choose their devices.
"""

from __future__ import annotations

import atexit
import dataclasses
import functools
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests import tiny

PATIENCE = 300  # seconds


@dataclasses.dataclass
class Job:
  """A command line without its program, the folder it is started in, and whether to run it."""

  argv: Sequence[str]
  cwd: str
  run: bool = False


def results(jobs: Sequence[Job], **variables: str) -> list[tuple[int, str]]:
  """Exit status and output of each; `variables` are added to the environment."""
  answers = [answer(job, tiny.environment() | variables) for job in jobs]
  return [(status, printed + errors) for status, printed, errors in answers]


def answer(job: Job, environment: Mapping[str, str]) -> tuple[int, str, str]:
  """Exit status, stdout and stderr of a job in an environment."""
  # What is read as JAX and Python are imported, so that it comes too late for a child.
  early = {k: x for k, x in environment.items() if k.startswith(('JAX_', 'PYTHON'))}
  server = _server(tuple(sorted(early.items())))
  asked = dataclasses.asdict(job), dict(environment)
  print(json.dumps(asked), file=server.stdin, flush=True)
  line = server.stdout.readline()
  assert line, f'the server has ended, asked for {job}'
  status, printed, errors = json.loads(line)
  return status, printed, errors


@functools.cache
def _server(early: tuple[tuple[str, str], ...]) -> subprocess.Popen:
  server = subprocess.Popen(
    [sys.executable, '-m', 'tests.command_lines'],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
    cwd=tiny.ROOT,
    env=tiny.environment() | dict(early),
  )
  atexit.register(server.communicate)  # what is registered last is called first
  atexit.register(server.kill)
  return server


def _start(job: Job) -> None:
  from pspnet_jax import cli
  from pspnet_jax.__main__ import module_of

  name, *arguments = job.argv
  door = importlib.import_module(f'pspnet_jax.{module_of(name)}')
  sys.argv = [door.__file__, *arguments]
  if job.run:
    cli.run(door.main)
  cli._run(lambda: lambda *given: None, door.__doc__, door.define_flags)


def _child(job: Job, environment: Mapping[str, str], printed: int, errors: int) -> int:
  nothing = os.open(os.devnull, os.O_RDONLY)
  for given, descriptor in ((nothing, 0), (printed, 1), (errors, 2)):
    os.dup2(given, descriptor)
  os.environ.clear()
  os.environ.update(environment)
  os.chdir(job.cwd)
  sys.path.insert(0, job.cwd)
  signal.alarm(PATIENCE)
  status = 1
  try:
    _start(job)
  except SystemExit as e:
    status = e.code if isinstance(e.code, int) else int(e.code is not None)
  except BaseException:
    traceback.print_exc()
  sys.stdout.flush()
  sys.stderr.flush()
  return status


def _answer(job: Job, environment: Mapping[str, str]) -> tuple[int, str, str]:
  with tempfile.TemporaryFile() as printed, tempfile.TemporaryFile() as errors:
    child = os.fork()
    if child == 0:
      os._exit(_child(job, environment, printed.fileno(), errors.fileno()))
    _, status = os.waitpid(child, 0)
    texts = []
    for file in (printed, errors):
      file.seek(0)
      texts.append(file.read().decode())
    return os.waitstatus_to_exitcode(status), *texts


def main() -> None:
  from pspnet_jax.__main__ import COMMANDS, module_of

  for command in COMMANDS:
    importlib.import_module(f'pspnet_jax.{module_of(command)}')
  for line in sys.stdin:
    job, environment = json.loads(line)
    print(json.dumps(_answer(Job(**job), environment)), flush=True)


if __name__ == '__main__':
  sys.path.insert(0, str(Path(__file__).parent.parent))
  main()
