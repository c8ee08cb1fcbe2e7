"""Whether two starts compute the same: the same steps in two processes, and their parameters.

A GPU's program is made of the kernels that were fastest in a trial, which may be others in the next
start, and some kernels add in the order in which their threads finish. `config.deterministic` asks
for neither; what that costs a step is measured too. Where compiled programs are kept, as the
package's commands do, the second start runs the program of the first.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import child, work

COLUMNS = ('two starts', 'parameters', 'differ by', 'loss, first', 'loss, second', 'ms a step')
STEPS = 20
WAYS = ('as it is', 'deterministic', 'as it is, programs kept')


@dataclasses.dataclass(frozen=True)
class Case:
  """Two starts of the same work."""

  work: work.Case
  way: str  # of WAYS
  steps: int = STEPS

  def __str__(self) -> str:
    return f'two starts of {self.steps} steps, {self.way}, {self.work}'


def measure(case: Case) -> dict[str, Any]:
  """Trains twice from the same weights on the same batch, each time in a process of its own."""
  with tempfile.TemporaryDirectory() as folder:
    starts = [_start(case, Path(folder), str(i)) for i in range(2)]
    first, second = (np.load(Path(folder) / f'{i}.npy') for i in range(2))
  differ = first != second
  return {
    'case': str(case),
    'way': case.way,
    'starts': starts,
    'same': not differ.any(),
    'share_that_differs': float(differ.mean()),
    'largest_difference': float(np.abs(first - second).max() / np.abs(first).max()),
  }


def rows(measured: dict[str, Any]) -> Iterator[list[str]]:
  """The two starts as a row of a table."""
  first, second = measured['starts']
  yield [
    measured['way'],
    'the same' if measured['same'] else f'{100 * measured["share_that_differs"]:.0f} % differ',
    '' if measured['same'] else f'{measured["largest_difference"]:.0e}',
    repr(first['loss']),
    repr(second['loss']),
    f'{1e3 * second["step"]:.1f}',
  ]


def _start(case: Case, folder: Path, name: str) -> dict[str, float]:
  kept = 'kept' in case.way
  cache = {'JAX_ENABLE_COMPILATION_CACHE': '1' if kept else '0'}
  if kept:
    cache['JAX_COMPILATION_CACHE_DIR'] = str(folder / 'programs')
  how = {'deterministic': case.way == 'deterministic', 'steps': case.steps}
  values = dataclasses.asdict(case.work) | how
  path = folder / f'{name}.npy'
  return child.result_of('benchmarks.repeat', json.dumps(values), str(path), env=os.environ | cache)


def _child(values: dict[str, Any], path: str) -> dict[str, float]:
  import jax

  from benchmarks import ours
  from benchmarks.timing import Program

  deterministic, steps = values.pop('deterministic'), values.pop('steps')
  step, arguments = ours.train_step(work.Case(**values), deterministic=deterministic)
  state, batch = (make() for make in arguments)
  carried: list[Any] = [state, None]

  def run() -> None:
    carried[:] = step(carried[0], batch)

  program = Program(run, lambda: jax.block_until_ready(carried))
  program.seconds()  # compiles
  seconds = program.seconds(steps - 1)
  flat = np.concatenate([np.asarray(x).ravel() for x in jax.tree.leaves(carried[0].params)])
  np.save(path, flat)
  return {'loss': float(carried[1]['loss'].compute()), 'step': seconds}


if __name__ == '__main__':
  print(json.dumps(_child(json.loads(sys.argv[1]), sys.argv[2])))
