"""What training and inference take on an accelerator that is not there.

    python -m benchmarks.ahead_of_time --topology=h100 [--config=NAME] [--check]

compiles the programs that run there and reads them: memory, arithmetic, traffic by part of the
network, library calls, messages between devices, and the least time by the device's two ceilings.
Nothing is timed but the compiler. `make accelerators` sets up the environments to start it in:
.venv-cuda for h100 and h100:8, .venv-tpu for v5e:2x2, v5p:2x2x1, v6e:2x2 and other sizes.

Without --config or a size (--depth=101 --crop=713 --batch=8) the cases are those whose figures
ahead_of_time.json holds. --record writes them there, --check compares with them and fails where
something has grown by more than 2 %, naming it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from benchmarks.program_figures import Figures, figures, grown, show
from pspnet_jax import plan
from pspnet_jax.config import files
from pspnet_jax.errors import UserError
from pspnet_jax.models.network import Network
from pspnet_jax.planning import devices, programs, useful
from pspnet_jax.runtime.files import write_whole
from pspnet_jax.training import optim
from pspnet_jax.training.step import make_train_step

SIZE = {'depth': int, 'crop': int, 'batch': int, 'dtype': str}  # of a case
RECORDED = Path(__file__).with_suffix('.json')


@dataclasses.dataclass(frozen=True)
class Case:
  """A program to compile: the paper's recipe in some size, with 150 classes, or a config's."""

  topology: str
  train: bool
  depth: int = 50
  crop: int = 473
  batch: int = 16
  dtype: str = 'bfloat16'
  config: str | None = None

  def __str__(self) -> str:
    kind = 'training step' if self.train else 'inference'
    size = f'PSPNet-{self.depth}, {self.crop}², batch {self.batch}, {self.dtype}'
    return f'{self.topology}: {kind}, {self.config or size}'


# What is recorded, by topology.
CASES = {
  'h100': (
    *(Case('h100', True, depth) for depth in (50, 101)),
    *(Case('h100', True, depth, 713, 8) for depth in (50, 101)),
    *(Case('h100', False, 50, 473, 8, dtype) for dtype in ('bfloat16', 'float32')),
  ),
  **{name: (Case(name, True),) for name in ('h100:8', 'v5e:2x2')},
}


def compile_case(case: Case) -> tuple[programs.Compiled, int]:
  """Compiles a case; with the FLOPs of the network as published."""
  topology = devices.open_topology(case.topology)
  made = _recipe(case) if case.config is None else _of_config(case.config)
  images = {name: made[name] for name in ('network', 'batch_size', 'crop_size')}
  flops = useful.flops(*images.values(), train=case.train)
  if not case.train:
    return programs.inference(topology, **images), flops
  return programs.training_step(topology, **made), flops


def _recipe(case: Case) -> dict[str, Any]:
  network = Network(150, depth=case.depth, dtype=case.dtype)
  tx = optim.sgd(network.param_shapes, optim.learning_rate(0.01, 100_000))
  sizes = {'batch_size': case.batch, 'crop_size': (case.crop, case.crop)}
  return {'network': network, 'tx': tx, 'step': make_train_step(network, tx), **sizes}


def _of_config(name: str) -> dict[str, Any]:
  config = files.load(name)
  return plan.made(config, plan.classes(config))


def main(arguments: Sequence[str] | None = None) -> None:
  """Parses the command line, compiles, prints, and compares or records."""
  flags = parse(arguments)
  devices.keep_to_the_cpu()
  known = json.loads(RECORDED.read_text()) if RECORDED.is_file() else {'cases': {}}
  report: Figures = {'about': {'jax': jax.__version__}, 'cases': {}}
  faults = []
  for case in cases(flags):
    try:
      found = figures(*compile_case(case))
    except (UserError, programs.TooLarge) as e:
      sys.exit(f'Error: {e}')
    report['cases'][str(case)] = found
    show(str(case), found)
    before = known['cases'].get(str(case))
    if flags.check and before is None:
      faults.append(f'{case}: nothing is recorded; --record does it')
    elif flags.check and before is not None:
      faults += [f'{case}: {fault}' for fault in grown(before, found)]
    if flags.record:  # after each: what took long is not lost
      known['cases'][str(case)] = {**found, 'jax': jax.__version__, 'date': time.strftime('%F')}
      _write(RECORDED, known)
    if flags.json:
      _write(flags.json, report)
  if faults:
    sys.exit('\n' + '\n'.join(faults))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
  """The command line."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--topology', required=True, help='h100, h100:8, v5e:2x2, v5p:2x2x1 ...')
  parser.add_argument('--only', choices=('training', 'inference'))
  parser.add_argument('--config', help='a file or a name, instead of a size')
  for name, kind in SIZE.items():
    default = getattr(Case, name)
    parser.add_argument(f'--{name}', type=kind, help=f'{default} without')
  parser.add_argument('--json', type=Path, help='where to write the figures')
  parser.add_argument('--check', action='store_true', help='compares with what is recorded')
  parser.add_argument('--record', action='store_true', help=f'writes into {RECORDED.name}')
  flags = parser.parse_args(arguments)
  if flags.config and any(getattr(flags, name) for name in SIZE):
    parser.error(f'--config has its own {", ".join(SIZE)}: leave them out')
  return flags


def cases(flags: argparse.Namespace) -> Iterator[Case]:
  """What is asked for: one size, or those that are recorded."""
  kinds = {'training': True, 'inference': False}
  wanted = [kinds[flags.only]] if flags.only else [True, False]
  given = {name: getattr(flags, name) for name in ('config', *SIZE)}
  given = {name: value for name, value in given.items() if value is not None}
  if not given and flags.topology in CASES:
    yield from (case for case in CASES[flags.topology] if case.train in wanted)
  else:
    yield from (Case(flags.topology, train, **given) for train in wanted)


def _write(path: Path, what: Mapping[str, Any]) -> None:
  write_whole(path, json.dumps(what, indent=1) + '\n')


if __name__ == '__main__':
  main()
