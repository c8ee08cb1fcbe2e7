"""Parses or runs command lines of `pspnet`, each in a process of its own, all from one import.

`python -m tests.command_lines < JOBS`, a `Job` in JSON on each line, answers with a line each:
exit status and what was printed. A command that is not run is parsed by its own parser, and ends
then. Children are forked before anything starts JAX.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

from tests import tiny


@dataclasses.dataclass
class Job:
  """A command line without its program, the folder it is started in, and whether to run it."""

  argv: Sequence[str]
  cwd: str
  run: bool = False


def results(jobs: Sequence[Job]) -> list[tuple[int, str]]:
  """Exit status and output of each."""
  answer = subprocess.run(
    [sys.executable, '-m', 'tests.command_lines'],
    input='\n'.join(json.dumps(dataclasses.asdict(job)) for job in jobs),
    capture_output=True,
    text=True,
    cwd=tiny.ROOT,
    env=tiny.environment() | {'JAX_ENABLE_COMPILATION_CACHE': '0'},
    check=False,
  )
  assert answer.returncode == 0, answer.stderr
  return [(status, printed) for status, printed in map(json.loads, answer.stdout.splitlines())]


def _start(job: Job) -> None:
  from pspnet_jax import cli
  from pspnet_jax.__main__ import module_of

  name, *arguments = job.argv
  sys.argv = ['pspnet', *arguments]
  door = importlib.import_module(f'pspnet_jax.{module_of(name)}')
  if job.run:
    cli.run(door.main)
  cli._run(lambda: lambda *given: None, door.__doc__, door.define_flags)


def _answer(job: Job) -> tuple[int, str]:
  with tempfile.TemporaryFile() as printed:
    child = os.fork()
    if child == 0:
      os.dup2(printed.fileno(), 1)
      os.dup2(printed.fileno(), 2)
      os.chdir(job.cwd)
      sys.path.insert(0, job.cwd)
      status = 1
      try:
        _start(job)
      except SystemExit as e:
        status = e.code if isinstance(e.code, int) else int(e.code is not None)
      except BaseException:
        traceback.print_exc()
      sys.stdout.flush()
      os._exit(status)
    _, status = os.waitpid(child, 0)
    printed.seek(0)
    return os.waitstatus_to_exitcode(status), printed.read().decode()


def main() -> None:
  from pspnet_jax.__main__ import COMMANDS, module_of

  for command in COMMANDS:
    importlib.import_module(f'pspnet_jax.{module_of(command)}')
  for line in sys.stdin:
    print(json.dumps(_answer(Job(**json.loads(line)))), flush=True)


if __name__ == '__main__':
  sys.path.insert(0, str(Path(__file__).parent.parent))
  main()
