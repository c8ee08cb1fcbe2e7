"""pspnet_jax beside PyTorch on the same work, on the device this machine has.

    python -m benchmarks.run [--only=training,inference] [--json=FILE]

'training' and 'inference' are timed in turns with PyTorch's ways of running the same network and
compared with the largest matrix product's FLOP/s measured here; 'starts' are of whole processes;
'evaluation' is that of semseg's loop; 'parity' compares numbers, not times; 'repeat' tells whether
two starts compute the same. The other parts are ours alone. Without options the sizes fit the
device: minutes on a CPU as on a GPU, evaluation on a CPU half an hour.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

# JAX would take three quarters of a GPU's memory; here it shares it with PyTorch.
os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')

import jax

from benchmarks import (
  compiling,
  device,
  dilation,
  evaluation,
  fed,
  losses,
  memory,
  parity,
  profiled,
  repeat,
  speed,
  starts,
  work,
)
from pspnet_jax.runtime.files import write_whole

# What is measured, and the module that has its `measure`, `COLUMNS` and `rows`.
PARTS: dict[str, Any] = {
  'training': speed,
  'inference': speed,
  'starts': starts,
  'compiling': compiling,
  'memory': memory,
  'dilation': dilation,
  'losses': losses,
  'fed': fed,
  'profile': profiled,
  'parity': parity,
  'repeat': repeat,
  'evaluation': evaluation,
}
# One case tells enough: whole processes, or what is the same for every dtype.
ONE_CASE = ('starts', 'memory', 'losses', 'parity')


def main(arguments: Sequence[str] | None = None) -> None:
  """Parses the command line, measures, prints tables and writes the figures."""
  platform = jax.devices()[0].platform
  flags = parse(arguments, platform)
  report: dict[str, Any] = {'about': device.describe(), 'ceiling': {}, 'measured': {}}
  print(', '.join(f'{name} {value}' for name, value in report['about'].items()), flush=True)

  def ceiling(dtype: str) -> float:
    known = report['ceiling']
    if dtype not in known:
      known[dtype] = device.matmul_ceiling(dtype, flags.ceiling_side, platform)
      figures = ', '.join(f'{name} {x / 1e12:.3g}' for name, x in known[dtype].items())
      print(f'Matrix product in {dtype}: {figures} TFLOP/s.', flush=True)
    return max(known[dtype].values())

  measures: dict[str, Callable[[Any], dict[str, Any]]] = {
    'training': lambda c: speed.measure(c, flags.peers, flags.rounds, ceiling(c.dtype)),
    'inference': lambda c: speed.measure(c, flags.peers, flags.rounds, ceiling(c.dtype)),
    'starts': lambda c: starts.measure(c, flags.peers),
    'compiling': compiling.measure,
    'memory': memory.measure,
    'dilation': lambda c: dilation.measure(c, flags.rounds),
    'losses': lambda c: losses.measure(c, flags.rounds),
    'fed': lambda c: fed.measure(c, flags.rounds, flags.threads, flags.steps),
    'profile': lambda c: profiled.measure(c, flags.steps),
    'parity': lambda c: parity.measure(c, platform),
    'repeat': repeat.measure,
    'evaluation': lambda c: evaluation.measure(c, flags.peers, flags.rounds, platform),
  }
  for part in flags.only:
    for case in cases(part, flags, platform):
      try:
        measured = measures[part](case)
      except Exception as e:  # too large for this device, say: the other cases count still
        traceback.print_exc()
        measured = {'case': str(case), 'failed': f'{type(e).__name__}: {e}'}
      report['measured'].setdefault(part, []).append(measured)
      if 'failed' not in measured:
        print(f'\n{measured["case"]}\n\n{table(PARTS[part], measured)}', flush=True)
      if flags.json:  # after each case: a run cut short leaves what it has
        write_whole(flags.json, json.dumps(report, indent=1) + '\n')


def parse(arguments: Sequence[str] | None, platform: str) -> argparse.Namespace:
  """The command line; what is not given depends on the device."""
  on_cpu = platform == 'cpu'
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  many: dict[str, Any] = {'type': lambda text: text.split(',')}
  numbers: dict[str, Any] = {'type': lambda text: [int(x) for x in text.split(',')]}
  parser.add_argument('--only', default=PARTS, **many, help=f'of {", ".join(PARTS)}')
  parser.add_argument('--json', type=Path, help='where to write the figures')
  parser.add_argument('--depths', **numbers, default=[50] if on_cpu else [50, 101])
  parser.add_argument('--sizes', **numbers, help='of the crop; 233 or 473 without')
  parser.add_argument('--batches', **numbers, help='images a step')
  parser.add_argument('--dtypes', default=['float32', 'bfloat16'], **many)
  parser.add_argument(
    '--peers',
    type=lambda text: [x for x in text.split(';') if x],
    default=work.PEERS,
    help=f'ways of PyTorch, separated by semicolons, of {"; ".join(work.PEERS)}',
  )
  parser.add_argument(
    '--ways',
    type=lambda text: text.split(';'),
    default=repeat.WAYS,
    help=f'of two starts, separated by semicolons, of {"; ".join(repeat.WAYS)}',
  )
  parser.add_argument('--rounds', type=int, default=5 if on_cpu else 10)
  parser.add_argument('--num_classes', type=int, default=150)
  parser.add_argument('--ceiling_side', type=int, help='of the matrix product')
  parser.add_argument('--times', **numbers, default=[1, 2], help='size of evaluated images')
  parser.add_argument('--scales', **numbers, default=[1, 6], help='of an evaluation: 1, 6 or both')
  parser.add_argument('--steps', type=int, help='timed together, traced, or of two starts')
  parser.add_argument('--threads', type=int, help='of the loader; all cores without')
  flags = parser.parse_args(arguments)
  for part in flags.only:
    if part not in PARTS:
      parser.error(f'--only={part}: give some of {",".join(PARTS)}')
  for name in flags.peers:
    if name not in work.PEERS:
      parser.error(f'--peers={name}: give some of {"; ".join(work.PEERS)}')
  for name in flags.ways:
    if name not in repeat.WAYS:
      parser.error(f'--ways={name}: give some of {"; ".join(repeat.WAYS)}')
  return flags


def cases(part: str, flags: argparse.Namespace, platform: str) -> Iterator[Any]:
  """What a part measures."""
  if part == 'evaluation':
    crop = (flags.sizes or [473])[0]
    network = flags.depths[0], crop, flags.num_classes
    yield from evaluation.cases(*network, flags.times, flags.scales, platform)
    return
  on_cpu, train = platform == 'cpu', part != 'inference'
  sizes = flags.sizes or ([233 if train else 473] if on_cpu else [473, 713])
  batches = flags.batches or ([2 if train else 1] if on_cpu else [16] if train else [1, 8])
  depths, dtypes = flags.depths, flags.dtypes
  if part == 'memory':
    sizes = flags.sizes or [473]
  if part in ONE_CASE:
    depths, sizes, batches, dtypes = depths[:1], sizes[:1], batches[:1], dtypes[:1]
  elif part in ('fed', 'profile', 'repeat'):  # of one network: what trains fastest is what matters
    depths, sizes, dtypes = depths[:1], sizes[:1], dtypes[-1:]
  elif part == 'dilation':  # of every depth alike
    depths = depths[:1]
  elif part == 'compiling':
    depths = depths if 269 in depths or flags.sizes else [*depths, 269]
    sizes, batches, dtypes = sizes[:1], batches[:1], dtypes[:1]
  for dtype, depth, size, batch in itertools.product(dtypes, depths, sizes, batches):
    case = work.Case(train, depth, size, batch, dtype, flags.num_classes)
    if part == 'repeat':
      yield from (repeat.Case(case, way, flags.steps or repeat.STEPS) for way in flags.ways)
    else:
      yield case


def table(module: Any, measured: dict[str, Any]) -> str:
  """Returns what a part has measured as a table in Markdown."""
  lines = [list(module.COLUMNS), *module.rows(measured)]
  widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
  # The first column is of words, the others are of numbers.
  rule = ['-' * widths[0], *('-' * (width - 1) + ':' for width in widths[1:])]
  texts = []
  for first, *others in [lines[0], rule, *lines[1:]]:
    cells = [x.rjust(width) for x, width in zip(others, widths[1:], strict=True)]
    texts.append(f'| {" | ".join([first.ljust(widths[0]), *cells])} |')
  return '\n'.join(texts)


if __name__ == '__main__':
  main()
