"""Where a step's time goes on the device, read from JAX's profiler without TensorBoard."""

from __future__ import annotations

import collections
import gzip
import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

from benchmarks import ours, work

COLUMNS = ('operation', 'calls a step', 'ms a step', 'share')
STEPS, WARM_UP, SHOWN = 5, 3, 25
# Rows of a trace whose events contain those of other rows, and would count twice.
_SUMMARIES = re.compile(r'XLA Modules|Steps|Framework|Source code|python', re.IGNORECASE)


def measure(case: work.Case, steps: int | None = None) -> dict[str, Any]:
  """Traces `steps` (None: `STEPS`) and adds up the device's operations by name."""
  steps = steps or STEPS
  program = ours.program(case)
  program.seconds(WARM_UP)
  with tempfile.TemporaryDirectory() as folder:
    with jax.profiler.trace(folder):
      seconds = program.seconds(steps)
    [path] = Path(folder).rglob('*.trace.json.gz')
    trace = json.loads(gzip.decompress(path.read_bytes()))
  operations = summed(trace['traceEvents'])
  total = sum(ms for _, ms in operations.values())
  most = sorted(operations, key=lambda name: -operations[name][1])[:SHOWN]
  return {
    'case': str(case),
    'step_ms': 1e3 * seconds,
    'busy_ms': total / steps,
    'operations': [
      {'name': name, 'calls': operations[name][0] / steps, 'ms': operations[name][1] / steps}
      for name in most
    ],
  }


def rows(measured: dict[str, Any]) -> Iterator[list[str]]:
  """The longest operations as rows of a table."""
  total = measured['busy_ms']
  for found in measured['operations']:
    name = found['name'] if len(found['name']) <= 70 else found['name'][:67] + '...'
    numbers = [f'{found["calls"]:.0f}', f'{found["ms"]:.3f}', f'{100 * found["ms"] / total:.1f} %']
    yield [name.replace('|', '/'), *numbers]
  yield ['all operations', '', f'{total:.3f}', '100 %']
  yield ['a step, by the clock', '', f'{measured["step_ms"]:.3f}', '']


def summed(events: list[Mapping[str, Any]]) -> dict[str, tuple[int, float]]:
  """Returns calls and milliseconds of a trace's device operations by name, numbers left out.

  An accelerator's are in the processes named after it; a CPU's among the host's, told by the HLO
  operation they name.
  """
  processes, threads = {}, {}
  for event in events:
    if event.get('ph') == 'M' and event['name'] == 'process_name':
      processes[event['pid']] = event['args']['name']
    elif event.get('ph') == 'M' and event['name'] == 'thread_name':
      threads[event['pid'], event['tid']] = event['args']['name']
  accelerators = {pid for pid, name in processes.items() if '/device:' in name}
  found: dict[str, tuple[int, float]] = collections.defaultdict(lambda: (0, 0.0))
  for event in events:
    if event.get('ph') != 'X':
      continue
    args = event.get('args', {})
    row = threads.get((event['pid'], event['tid']), '')
    if accelerators:
      if event['pid'] not in accelerators or _SUMMARIES.search(row):
        continue
    elif 'hlo_op' not in args:
      continue
    name = re.sub(r'[.\d]+$', '', str(args.get('hlo_op') or event['name']))
    where = re.sub(r'\d+', '#', str(args.get('tf_op') or args.get('name') or ''))
    name = f'{name} ({"/".join(where.split("/")[-2:])})' if where else name
    calls, ms = found[name]
    found[name] = calls + 1, ms + event.get('dur', 0) / 1e3
  return dict(found)
