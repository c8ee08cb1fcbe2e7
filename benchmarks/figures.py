"""Measures the figures that README, configs and docs state, and says what has changed since.

    python -m benchmarks.figures                                  # figures, and whether they hold
    python -m benchmarks.figures --measure=NAME --output=DIR [--seeds=0,1,2] [--camvid=DIR]
    python -m benchmarks.figures --confirm=NAME --output=DIR [--against=CHECKOUT]

NAME is a row of `RUNS`, or the beginning of several. A run that is finished in DIR is not trained
again. `--confirm` trains twenty steps only and evaluates what came of them: if loss and score are
those that were kept, bit for bit, the figures stand for the code as it is now. That holds on the
processor and the versions they were measured with. Elsewhere `--against` names a checkout of the
code that they were measured with, whose twenty steps are then taken here, too.
"""

from __future__ import annotations

import argparse
import ast
import datetime
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pspnet_jax.runtime.files import write_whole

ROOT = Path(__file__).parent.parent
FILE = Path(__file__).with_suffix('.json')
# The rows of context_ablations.py; two more are the same as table1-baseline and -b1236-ave-dr.
_ABLATIONS = (
  *('table1-baseline', 'table1-b1-max', 'table1-b1-ave', 'table1-b1236-max', 'table1-b1236-ave'),
  *('table1-b1236-max-dr', 'table1-b1236-ave-dr'),
  *('table2-none', 'table2-0.3', 'table2-0.6', 'table2-0.9', 'stride-16', 'stride-32'),
)
# What follows --config=, and whether the score of every class is kept.
RUNS = {
  'context_scenes': True,
  "context_scenes --config.model.bins='()'": True,
  'camvid': True,
  "camvid --config.model.bins='()'": True,
  'camvid_long': True,
  **{f'context_ablations:{row}': False for row in _ABLATIONS},
}
# What bears on a figure, beside the config: changes of anything else leave it as it is.
BEARING = (
  *('models/*.py', 'ops/*.py', 'training/*.py', 'inference/*.py', 'train.py', 'evaluate.py'),
  *('config/build.py', 'config/defaults.py', 'config/parts.py', 'runtime/compiler_options.py'),
  *('evaluation/metrics.py', 'evaluation/scoring.py', 'evaluation/validation.py'),
  *(f'data/{name}.py' for name in ('augment', 'warp', 'photometric', 'loader', 'sizes')),
  *('data/scenes.py', 'data/scene_drawing.py', 'data/folder.py', 'data/decode.py'),
)
STEPS = 20  # of a run that only confirms


def digest(path: Path) -> str:
  """A short checksum of what a Python file does: comments, docstrings and layout do not count."""
  tree = ast.parse(path.read_text())
  for node in ast.walk(tree):
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
      first = node.body[0] if node.body else None
      if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        del node.body[0]
  return hashlib.sha256(repr(_shape(tree)).encode()).hexdigest()[:8]


def _shape(node: Any) -> Any:
  """A syntax tree as tuples, the same under every Python: empty fields are left out."""
  if isinstance(node, ast.AST):
    fields = ((name, _shape(value)) for name, value in ast.iter_fields(node))
    return type(node).__name__, *((name, x) for name, x in fields if x is not None and x != ())
  return tuple(map(_shape, node)) if isinstance(node, list) else node


def bearing_code(name: str, root: Path = ROOT) -> dict[str, str]:
  """The digest of each file of a checkout that bears on a run, by its path."""
  package, configs = root / 'pspnet_jax', root / 'configs'
  paths = {path for pattern in BEARING for path in package.glob(pattern)}
  stem = name.partition(' ')[0].partition(':')[0]
  waiting = [stem]
  while waiting:  # a config imports its neighbours
    path = configs / f'{waiting.pop()}.py'
    if path.is_file() and path not in paths:
      paths.add(path)
      waiting += _imports(path)
  return {path.relative_to(root).as_posix(): digest(path) for path in sorted(paths)}


def _imports(path: Path) -> Iterable[str]:
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
      yield node.module


def changed_since(name: str, record: Mapping[str, Any], root: Path = ROOT) -> list[str]:
  """The files that bear on a figure and are not what they were when it was measured."""
  now, then = bearing_code(name, root), record['code']
  return sorted(path for path in now.keys() | then.keys() if now.get(path) != then.get(path))


def run(
  name: str, workdir: Path, extra: Sequence[str], classes: bool, root: Path = ROOT
) -> dict[str, Any]:
  """Trains in `workdir` by a checkout, unless the same code has done so; loss and scores.

  Scores are in percent.
  """
  code = bearing_code(name, root)
  result, question = workdir / 'figure.json', {'options': [*extra], 'code': code}
  kept = json.loads(result.read_text()) if result.is_file() else {}
  if kept.get('question') != question:
    shutil.rmtree(workdir, ignore_errors=True)
    config, *options = shlex.split(name)
    began = time.time()
    _pspnet(root, 'train', f'--config={config}', *options, *extra, f'--workdir={workdir}')
    lines = [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]
    found: dict[str, Any] = {key: 100 * lines[-1][f'val/{key}'] for key in ('mIoU', 'mAcc', 'aAcc')}
    found['first loss'] = lines[0]['train/loss']
    evaluated = [line for line in lines if 'val/mIoU' in line]
    if len(evaluated) > 1:  # steps, minutes since the command was given, percent
      found['curve'] = [
        [line['step'], round((line['time'] - began) / 60, 2), 100 * line['val/mIoU']]
        for line in evaluated
      ]
    if classes:
      _pspnet(root, 'evaluate', f'--workdir={workdir}')
      scores = json.loads((workdir / 'evaluation' / 'scores.json').read_text())
      found['IoU'] = {key: 100 * value for key, value in scores['IoU'].items()}
    kept = {'question': question, 'found': found}
    write_whole(result, json.dumps(kept))
    shutil.rmtree(workdir / 'checkpoints', ignore_errors=True)
  return kept['found']


def _pspnet(root: Path, *arguments: str) -> None:
  environment = {**os.environ, 'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(root)}
  command = [sys.executable, '-m', 'pspnet_jax', *arguments]
  result = subprocess.run(
    command, env=environment, cwd=root, capture_output=True, text=True, check=False
  )
  if result.returncode:
    raise RuntimeError(f'{shlex.join(command)} failed: {result.stderr[-800:]}')


def fingerprint(
  name: str, workdir: Path, extra: Sequence[str], root: Path = ROOT
) -> dict[str, float]:
  """Loss and score after a few steps, which any change of the arithmetic changes."""
  found = run(name, workdir, [*extra, f'--config.total_steps={STEPS}'], classes=False, root=root)
  return {key: found[key] for key in ('first loss', 'mIoU', 'aAcc')}


def machine() -> dict[str, object]:
  """What the digits of a run depend on beside the code."""
  from benchmarks import device  # JAX and torch, which the kept figures do without

  known = device.describe()
  several = ['devices'] if known['devices'] != 1 else []  # JAX_NUM_CPU_DEVICES
  keys = ('processor', 'cores', 'python', 'jax', 'jaxlib', 'numpy', *several)
  return {key: known[key] for key in keys}


def load() -> dict[str, Any]:
  """The kept figures: of each run its seeds, its machine and day, its code and its fingerprint."""
  return json.loads(FILE.read_text()) if FILE.is_file() else {}


def keep(name: str, record: Mapping[str, Any]) -> None:
  """Puts a figure among those that are kept, in the order of `RUNS`."""
  kept = load() | {name: record}
  ordered = {key: kept[key] for key in RUNS if key in kept}
  write_whole(FILE, json.dumps(ordered, indent=1) + '\n')


def measure(name: str, seeds: Sequence[int], output: Path, extra: Sequence[str]) -> None:
  """Trains with each seed, and keeps what came out."""
  code = bearing_code(name)
  folder = output / _folder(name)
  found = {}
  for seed in seeds:
    found[str(seed)] = run(name, folder / f'{seed}', [*extra, f'--config.seed={seed}'], RUNS[name])
    print(f'{name}, seed {seed}: {found[str(seed)]["mIoU"]:.2f} % mIoU', flush=True)
  record = {
    'seeds': found,
    'fingerprint': fingerprint(name, folder / 'fingerprint', extra),
    'machine': machine(),
    'day': datetime.datetime.now(datetime.UTC).date().isoformat(),
    'code': code,
  }
  keep(name, record)


def confirm(name: str, output: Path, extra: Sequence[str], against: Path | None = None) -> bool:
  """Takes over the code as it is now into a record, if it computes what it did.

  Args:
    name: of the record.
    output: where runs lie.
    extra: further options of the command.
    against: a checkout of the code that the record was measured with, whose short run is compared
      with; None: compares with that of the record.

  Raises:
    RuntimeError: on another machine than the record's, where its own run tells nothing; for a
      checkout of other code.
  """
  record = load().get(name)
  if record is None:
    raise RuntimeError(f'{name} was never measured: --measure it.')
  folder = output / _folder(name)
  for short in ('against', 'confirmed'):
    shutil.rmtree(folder / short, ignore_errors=True)
  if against is not None:
    if other := changed_since(name, record, against):
      raise RuntimeError(
        f'{against} is not the code that {name} was measured with: {", ".join(other)} changed.'
      )
    expected = fingerprint(name, folder / 'against', extra, against)
  elif record['machine'] != machine():
    raise RuntimeError(
      f'{name} was measured on another machine, {record["machine"]}: --measure it, or give a '
      'checkout of that code with --against.'
    )
  else:
    expected = record['fingerprint']
  same = fingerprint(name, folder / 'confirmed', extra) == expected
  if same:
    keep(name, record | {'code': bearing_code(name)})
  return same


def _folder(name: str) -> str:
  return ''.join(c if c.isalnum() or c in '.-' else '_' for c in name)


def stated(record: Mapping[str, Any], key: str = 'mIoU') -> str:
  """A figure as documents state it, in percent: '87.8 (87.6–88.1)'."""
  values = [seed[key] for seed in record['seeds'].values()]
  mean = f'{sum(values) / len(values):.1f}'
  return f'{mean} ({min(values):.1f}–{max(values):.1f})' if len(values) > 1 else mean


def show() -> None:
  """Prints every figure, and the files that have changed since it was measured."""
  for name, record in load().items():
    changed = changed_since(name, record)
    state = f'CHANGED SINCE: {", ".join(changed)}' if changed else 'stands'
    count, day = len(record['seeds']), record['day']
    print(f'{name}: mIoU {stated(record)} %, {count} seed(s), {day}: {state}')


def named(beginning: str) -> list[str]:
  """The runs whose names begin so, but for those of another config, as camvid_long for camvid."""
  others = f'{beginning}_' if beginning in RUNS else None
  found = [name for name in RUNS if name.startswith(beginning)]
  return [name for name in found if others is None or not name.startswith(others)]


def main() -> None:
  """Parses the command line and does what it says."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--measure', help='runs to train, by the beginnings of their names')
  parser.add_argument('--confirm', help='runs to compare with what was kept')
  parser.add_argument('--against', type=Path, help='a checkout of the code they were measured with')
  parser.add_argument('--output', type=Path, help='where runs lie')
  parser.add_argument('--seeds', default='0,1,2')
  parser.add_argument('--camvid', type=Path, help='the folder of images and labels')
  flags = parser.parse_args()
  wanted = flags.measure or flags.confirm
  if wanted is None:
    show()
    return
  names = named(wanted)
  if flags.confirm:  # of several those that there are; a single one that is not there is said
    names = [name for name in names if name in load()] or names[:1]
  if not names or flags.output is None:
    parser.error(f'give --output=DIR, and the beginning of one of: {"; ".join(RUNS)}')
  for name in names:
    extra: list[str] = []
    if name.startswith('camvid'):
      if flags.camvid is None:
        parser.error('give --camvid=DIR')
      extra = [f'--config.data.root={flags.camvid.resolve()}']
    output = flags.output.resolve()
    try:
      if flags.measure:
        measure(name, [int(seed) for seed in flags.seeds.split(',')], output, extra)
      else:
        same = confirm(name, output, extra, flags.against and flags.against.resolve())
        print(f'{name}: {"stands" if same else "computes something else: measure it anew"}')
    except RuntimeError as e:
      sys.exit(str(e))


if __name__ == '__main__':
  main()
