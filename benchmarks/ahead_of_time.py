"""What training and inference will cost on an accelerator that is not there.

    python -m benchmarks.ahead_of_time --topology=h100 [--only=training] [--depth=101 --batch=8]

compiles the programs that run there and reads them: memory, arithmetic, traffic by part of the
network, library calls, messages between devices, and the least time by the device's two ceilings.
Nothing is timed but the compiler. `make accelerators` sets up the environments that it runs in:
.venv-cuda for h100 and h100:8, .venv-tpu for v5e:2x2, v5p:2x2x1, v6e:2x2 and other sizes.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import re
from collections.abc import Iterator, Sequence
from typing import Any

from pspnet_jax.models.network import Network
from pspnet_jax.planning import counting, devices, programs
from pspnet_jax.planning.hlo import Computation, Instruction
from pspnet_jax.training import optim
from pspnet_jax.training.step import make_train_step

# The names that the model's code gives its parts (`jax.named_scope`), and what they are called.
SCOPES = {
  'stem': 'stem',
  **{f'stage{i}': f'stage {i}' for i in range(1, 5)},
  'pyramid': 'pyramid',
  'head': 'head',
  'aux_head': 'auxiliary head',
  'optimizer': 'optimiser',
}
LOSS, MESSAGES = 'upsampling and loss', 'communication'
PARTS = (*SCOPES.values(), LOSS, MESSAGES)
NETWORK = tuple(SCOPES.values())[:-1]
_SCOPE = re.compile(rf'\b({"|".join(SCOPES)})\b')


@dataclasses.dataclass(frozen=True)
class Case:
  """A program to compile."""

  topology: str
  train: bool
  depth: int
  crop: int
  batch: int
  dtype: str
  num_classes: int = 150

  def __str__(self) -> str:
    kind = 'training step' if self.train else 'inference'
    what = f'PSPNet-{self.depth}, {self.crop}², batch {self.batch}, {self.dtype}'
    return f'{self.topology}: {kind}, {what}'


def compile_case(case: Case) -> programs.Compiled:
  """Compiles a program of the paper's recipe."""
  topology = devices.open_topology(case.topology)
  network = Network(case.num_classes, depth=case.depth, dtype=case.dtype)
  sizes: dict[str, Any] = {'batch_size': case.batch, 'crop_size': (case.crop, case.crop)}
  if not case.train:
    return programs.inference(topology, network, **sizes)
  tx = optim.sgd(network.param_shapes, optim.learning_rate(0.01, 100_000))
  return programs.training_step(topology, network, tx, make_train_step(network, tx), **sizes)


def part_of(instruction: Instruction, computation: Computation) -> str:
  """The part of the network that an instruction belongs to."""
  if counting.collective(instruction):
    return MESSAGES
  if scope := _SCOPE.search(instruction.op_name):
    return SCOPES[scope[1]]
  if '/' in instruction.op_name:
    return LOSS
  for name in instruction.operands:  # what the compiler adds belongs to what it moves
    operand = computation.instructions[name]
    if operand.op_name or operand.operands:
      return part_of(operand, computation)
  return LOSS


def by_part(compiled: programs.Compiled) -> dict[str, dict[str, float]]:
  """Of each part: bytes of its products and of its other passes, those cached, and FLOPs."""
  found: dict[str, dict[str, float]] = {
    part: dict.fromkeys(('products', 'passes', 'cached', 'on_chip', 'flops'), 0.0) for part in PARTS
  }
  for work in compiled.counted.work:
    part = found[part_of(work.instruction, work.computation)]
    part['products' if work.is_product else 'passes'] += work.memory
    part['cached'] += work.cached
    part['on_chip'] += work.on_chip
    part['flops'] += sum(work.flops.values())
  return found


def rows(compiled: programs.Compiled) -> Iterator[list[str]]:
  """The parts as rows of a table."""
  total: collections.Counter[str] = collections.Counter()
  for name, part in by_part(compiled).items():
    total.update(part)  # type: ignore[arg-type]
    yield _row(name, part)
  yield _row('all', total)


def _row(name: str, part: dict[str, float]) -> list[str]:
  sizes = [part['products'] + part['passes'], *(part[k] for k in ('products', 'passes', 'cached'))]
  cells = [f'{x / 1e9:.2f}' for x in (*sizes, part['on_chip'])]
  return [name, *cells, f'{part["flops"] / 1e12:.3f}']


COLUMNS = ('part', 'GB', 'products', 'other passes', 'from cache', 'on chip', 'TFLOP')


def main(arguments: Sequence[str] | None = None) -> None:
  """Parses the command line, compiles and prints what was found."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--topology', required=True)
  parser.add_argument('--only', choices=('training', 'inference'))
  parser.add_argument('--depth', type=int, default=50)
  parser.add_argument('--crop', type=int, default=473)
  parser.add_argument('--batch', type=int, default=16)
  parser.add_argument('--dtype', default='bfloat16')
  flags = parser.parse_args(arguments)
  devices.keep_to_the_cpu()
  for kind in ('training', 'inference'):
    if flags.only in (None, kind):
      case = Case(
        flags.topology, kind == 'training', flags.depth, flags.crop, flags.batch, flags.dtype
      )
      show(case, compile_case(case))


def show(case: Case, compiled: programs.Compiled) -> None:
  """Prints what a program costs."""
  print(f'\n{case}\n')
  lines = [list(COLUMNS), *rows(compiled)]
  widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
  lines.insert(1, ['-' * width for width in widths])
  for first, *others in lines:
    cells = [x.rjust(width) for x, width in zip(others, widths[1:], strict=True)]
    print('|', ' | '.join([first.ljust(widths[0]), *cells]), '|', flush=True)
  memory = ', '.join(f'{name} {size / 1e9:.2f}' for name, size in compiled.memory.items())
  print(f'\nmemory a device: {compiled.peak / 1e9:.2f} GB ({memory})')
  print(
    f'at least {1e3 * compiled.least_seconds:.1f} ms: arithmetic '
    f'{1e3 * compiled.seconds_of_arithmetic:.1f}, traffic {1e3 * compiled.seconds_of_traffic:.1f}'
  )
  for (name, window), count in compiled.counted.calls().items():
    print(f'{count:5d} {name} {window}')
  for kind, (count, size) in compiled.counted.messages().items():
    print(f'{count:5d} {kind}, {size / 1e6:.1f} MB a device')
  print(f'compiled in {compiled.seconds:.0f} s, {compiled.cpu_seconds:.0f} of CPU')


if __name__ == '__main__':
  main()
