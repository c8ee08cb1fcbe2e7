"""Measures what is worth knowing of a new device first; `benchmarks/first_hour.sh` runs it.

    python -m benchmarks.first_hour [--json=first_hour.json] [--only='parity;losses']
    python -m benchmarks.first_hour --page=first_hour.json > page.md

Each part is a command of `benchmarks.run` in a process of its own, which gives the device's memory
back, and has a limit of minutes. What it has measured stands in the JSON file when the next one
begins: a part that fails or is cut short is recorded and the others go on. `--page` makes Markdown
of the file. `--miniature` rehearses all of it with a small network in minutes on a CPU.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import importlib.util
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pspnet_jax.runtime.files import write_whole

ROOT = Path(__file__).resolve().parent.parent
NEEDED = ('jax', 'flax', 'optax', 'orbax', 'torch', 'numpy', 'cv2')
PEERS = '--peers=eager;channels_last;compile, channels_last'
USUAL = ('--sizes=473', '--batches=16', '--dtypes=bfloat16', '--rounds=5', '--depths=50')
SMALL = (
  *('--depths=10', '--sizes=33', '--batches=2', '--dtypes=float32', '--num_classes=5'),
  *('--rounds=1', '--ceiling_side=64', '--steps=2', '--threads=2', '--peers=eager'),
)


@dataclasses.dataclass(frozen=True)
class Part:
  """A part of the plan.

  Args:
    name: what it is called in the figures.
    minutes: how long it may take.
    arguments: those of `benchmarks.run`.
    small: further ones in miniature.
  """

  name: str
  minutes: float
  arguments: tuple[str, ...]
  small: tuple[str, ...] = ()

  def command(self, miniature: bool = False) -> list[str]:
    """Returns the arguments of Python."""
    given = (*self.arguments, *SMALL, *self.small) if miniature else self.arguments
    last = {argument.partition('=')[0]: argument for argument in given}
    return ['-m', 'benchmarks.run', *last.values()]


# What is most worth knowing comes first. Minutes hold imports, compiling and PyTorch's compiling.
PLAN = (
  Part('parity', 2, ('--only=parity', '--depths=50', '--sizes=233', '--batches=8')),
  Part('training, PSPNet-50', 3.5, ('--only=training', *USUAL, PEERS)),
  Part('losses', 1, ('--only=losses', *USUAL)),
  Part('dilation', 1.5, ('--only=dilation', *USUAL)),
  Part('profile', 1, ('--only=profile', *USUAL)),
  Part('fed training', 1.5, ('--only=fed', *USUAL)),
  Part('two starts', 4.5, ('--only=repeat', *USUAL), ('--ways=deterministic',)),
  Part(
    'inference, PSPNet-50',
    2.5,
    ('--only=inference', *USUAL, '--batches=1,8', '--peers=channels_last;compile, channels_last'),
    ('--batches=1',),
  ),
  Part('training, PSPNet-101', 4.5, ('--only=training', *USUAL, '--depths=101', PEERS)),
  Part(
    'evaluation',
    3,
    ('--only=evaluation', *USUAL, '--rounds=1', '--peers=channels_last'),
    ('--sizes=185', '--times=1', '--scales=1', '--peers=channels_last'),
  ),
)


def main(arguments: Sequence[str] | None = None) -> None:
  """Parses the command line; runs the parts, or prints the page of those that were run."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--json', type=Path, default=Path('first_hour.json'), help='the figures')
  parser.add_argument('--page', type=Path, metavar='JSON', help='prints Markdown of these figures')
  parser.add_argument('--only', help=f'of {"; ".join(part.name for part in PLAN)}; with semicolons')
  parser.add_argument('--miniature', action='store_true', help='rehearses with small sizes')
  flags = parser.parse_args(arguments)
  if flags.page:
    print('\n'.join(page(json.loads(flags.page.read_text()))))
    return
  if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
    parser.error(f'{", ".join(missing)} cannot be imported: install what is missing.')
  only = flags.only.split(';') if flags.only else [part.name for part in PLAN]
  if unknown := set(only) - {part.name for part in PLAN}:
    parser.error(f'--only={";".join(unknown)}: there is no such part.')
  parts = [part for part in PLAN if part.name in only]
  run(parts, flags.json, miniature=flags.miniature)
  print(f'\n{flags.json} has the figures; --page={flags.json} makes a page of them.')


def run(parts: Sequence[Part], path: Path, *, miniature: bool = False) -> None:
  """Runs parts one after the other and writes the file after each."""
  began = datetime.datetime.now(datetime.UTC)
  report: dict[str, Any] = {'began': f'{began:%Y-%m-%d %H:%M} UTC', 'commit': _commit()}
  report['parts'] = {}
  with tempfile.TemporaryDirectory() as folder:
    # Parts compile some programs in common, and more kernels.
    environment = os.environ | {
      'PYTHONPATH': os.pathsep.join(filter(None, (str(ROOT), os.environ.get('PYTHONPATH')))),
      'JAX_ENABLE_COMPILATION_CACHE': '1',
      'JAX_COMPILATION_CACHE_DIR': str(Path(folder) / 'programs'),
    }
    for number, part in enumerate(parts, 1):
      print(f'\n{number}/{len(parts)} {part.name}: {part.minutes:g} minutes at most', flush=True)
      figures = Path(folder) / f'{number}.json'
      command = [*part.command(miniature), f'--json={figures}']
      began_at = time.monotonic()
      limit = 60 * part.minutes * (10 if miniature else 1)  # rehearsed on whatever is at hand
      ended = _run([sys.executable, *command], environment, limit)
      found = json.loads(figures.read_text()) if figures.is_file() else {}
      report['parts'][part.name] = {
        'command': shlex.join(['python', *part.command(miniature)]),
        'ended': ended,
        'seconds': time.monotonic() - began_at,
        **found,
      }
      write_whole(path, json.dumps(report, indent=1) + '\n')


def _run(command: Sequence[str], environment: dict[str, str], seconds: float) -> str:
  """Returns how it ended: 'done', or a sentence."""
  with tempfile.TemporaryFile('w+', errors='replace') as errors:
    # A session of its own: whatever the part has started ends with it.
    process = subprocess.Popen(command, env=environment, stderr=errors, start_new_session=True)
    try:
      code = process.wait(timeout=seconds)
    except BaseException as e:
      os.killpg(process.pid, signal.SIGKILL)
      process.wait()
      if not isinstance(e, subprocess.TimeoutExpired):
        raise
      ended = f'cut short after {seconds:.0f} s'
      print(ended, flush=True)
      return ended
    if not code:
      return 'done'
    errors.seek(0)
    last = errors.read()[-2000:]
  print(last, file=sys.stderr, flush=True)
  return f'failed with exit status {code}: {last}'


def _commit() -> str:
  """Returns the commit of the code, with a plus where files have been changed since."""
  git = ['git', '-C', str(ROOT), 'describe', '--always', '--dirty=+', '--abbrev=12']
  try:
    return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
  except (OSError, subprocess.CalledProcessError):
    return 'unknown'


def page(report: dict[str, Any]) -> Iterator[str]:
  """Yields the lines of a page: every figure with its device, versions and command."""
  from benchmarks import run as runs

  parts = report['parts']
  about = next((part['about'] for part in parts.values() if 'about' in part), {})
  yield f'## Figures: {about.get("device", "unknown")}'
  yield ''
  yield f'{", ".join(f"{name} {value}" for name, value in about.items())}.'
  yield f'Commit {report["commit"]}, {report["began"]}.'
  ceilings = {k: v for part in parts.values() for k, v in part.get('ceiling', {}).items()}
  for dtype, found in ceilings.items():
    figures = ', '.join(f'{name} {x / 1e12:.3g}' for name, x in found.items())
    yield f'Largest matrix product in {dtype}: {figures} TFLOP/s.'
  for name, part in parts.items():
    yield f'\n### {name[:1].upper()}{name[1:]}\n'
    yield f'`{part["command"]}`, {part["seconds"]:.0f} s'
    if part['ended'] != 'done':
      first, *others = part['ended'].strip().splitlines()
      yield f'\nThis part was not finished: {" … ".join([first, *others[-1:]])}'
    for kind, cases in part.get('measured', {}).items():
      for measured in cases:
        title = f'\n{measured["case"][:1].upper()}{measured["case"][1:]}'
        if 'failed' in measured:
          yield f'{title}: failed, {" ".join(measured["failed"].split())[:300]}'
        else:
          yield f'{title}:\n\n{runs.table(runs.PARTS[kind], measured)}'


if __name__ == '__main__':
  main()
