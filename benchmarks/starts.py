"""What only a process of its own shows: from its start to the first step, and its peak memory.

Each program is started twice with an empty cache for compiled programs of its own: the second
start finds there what the first has compiled. Memory is that of the second, so that a compiler's
does not count: on a GPU what the library has allocated at most, on a CPU the resident set.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import child, work

COLUMNS = ('program', 'first start, s', 'second start, s', 'ratio', 'peak memory, MB')
STEPS = 3


def measure(case: work.Case, peers: Sequence[str]) -> dict[str, Any]:
  """Starts each program of a case twice."""
  results = {}
  for name in ('pspnet_jax', *peers):
    with tempfile.TemporaryDirectory() as cache:
      results[name] = [_start(case, name, cache) for _ in range(2)]
  return {'case': str(case), 'results': results}


def rows(measured: dict[str, Any]) -> Iterator[list[str]]:
  """The case as rows of a table."""
  for name, (first, second) in measured['results'].items():
    times = first['first_step'], second['first_step']
    label = name if name == 'pspnet_jax' else f'torch {name}'
    numbers = [f'{times[0]:.1f}', f'{times[1]:.1f}', f'{times[1] / times[0]:.2f}']
    yield [label, *numbers, f'{second["peak_bytes"] / 2**20:.0f}']


def _start(case: work.Case, name: str, cache: str) -> dict[str, float]:
  folders = {'JAX_COMPILATION_CACHE_DIR': cache, 'TORCHINDUCTOR_CACHE_DIR': f'{cache}/torch'}
  environment = {k: v for k, v in os.environ.items() if k != 'JAX_ENABLE_COMPILATION_CACHE'}
  environment |= folders | {'PSPNET_JAX_BEGAN': str(time.time())}
  return child.result_of(
    'benchmarks.starts', name, json.dumps(dataclasses.asdict(case)), env=environment
  )


def _child(name: str, values: dict[str, Any]) -> dict[str, float]:
  case = work.Case(**values)
  if name == 'pspnet_jax':
    from benchmarks import ours

    program = ours.program(case)
  else:
    from benchmarks import peers

    program = peers.program(case, name)
  program.seconds()
  first_step = time.time() - float(os.environ['PSPNET_JAX_BEGAN'])
  seconds = program.seconds(STEPS)
  return {'first_step': first_step, 'step': seconds, 'peak_bytes': _peak_bytes(name)}


def _peak_bytes(name: str) -> int:
  if name == 'pspnet_jax':
    import jax

    statistics = jax.devices()[0].memory_stats()
    on_device = statistics and statistics.get('peak_bytes_in_use')
  else:
    import torch

    on_device = torch.cuda.is_available() and torch.cuda.max_memory_allocated()
  # Not getrusage, whose maximum a process inherits from the one that started it.
  lines = Path('/proc/self/status').read_text().splitlines()
  resident = next(line for line in lines if line.startswith('VmHWM:'))
  return on_device or 1024 * int(resident.split()[1])


if __name__ == '__main__':
  print(json.dumps(_child(sys.argv[1], json.loads(sys.argv[2]))))
