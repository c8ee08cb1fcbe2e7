"""What a long life costs a process: memory, files, threads and compilations, begin against end.

    python -m benchmarks.soak --output=DIR [--steps=20000] [--images=5000] [--sizes=300]
    python -m benchmarks.soak --output=DIR --part=train|windows|whole|evaluate

Each part has a process of its own: `train` takes steps of a very small network with a checkpoint
now and then, as `pspnet train` does; `windows` and `whole` label images of many sizes, by sliding
windows and as whole images; `evaluate` scores as many. A sample is taken after every twentieth of a
part, the first when everything is imported and compiled that is compiled once. DIR keeps what a
part has found, and the same command goes on with those that are missing; soak.json and soak.md have
all of it. It reads /proc, as Linux has it.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pspnet_jax.runtime.files import write_whole

PARTS = ('train', 'windows', 'whole', 'evaluate')
COLUMNS = ('part', 'done', 'MB', 'open files', 'threads', 'compilations', 'minutes')
CLASSES = ('left', 'right', 'rest')
CROP = 32
_COMPILED = '/jax/core/compile/backend_compile_duration'
_CONFIG = """
import ml_collections

def get_config():
  c = ml_collections.ConfigDict()
  c.batch_size, c.total_steps, c.crop_size = 2, {steps}, ({crop}, {crop})
  c.log_every = c.eval_every = c.checkpoint_every = {every}
  c.threads, c.pictures = 1, 2
  c.data = {{'name': 'folder', 'root': {root!r}}}
  c.model = {{'depth': 10, 'stem_channels': (4, 4, 8), 'width': 4, 'bins': (1, 2),
             'head_channels': 8, 'aux_channels': 8}}
  return c
"""


class Samples:
  """What a process holds, sampled after every twentieth of its work."""

  def __init__(self, total: int):
    import jax

    self._total, self._began, self._compilations = total, time.monotonic(), 0
    self._next = self._every = max(total // 20, 1)
    self.found: list[dict[str, float]] = []

    def count(name: str, seconds: float, **_: Any) -> None:
      self._compilations += name == _COMPILED

    jax.monitoring.register_event_duration_secs_listener(count)

  def at(self, done: int) -> None:
    """Takes a sample if one is due; the first once a twentieth is done."""
    if done < self._next and done < self._total:
      return
    self._next += self._every
    if self.found and self.found[-1]['done'] == done:
      return
    pages = int(Path('/proc/self/statm').read_text().split()[1])
    self.found.append(
      {
        'done': done,
        'mb': pages * os.sysconf('SC_PAGE_SIZE') / 2**20,
        'files': len(os.listdir('/proc/self/fd')),
        'threads': len(os.listdir('/proc/self/task')),
        'compilations': self._compilations,
        'minutes': (time.monotonic() - self._began) / 60,
      }
    )
    print(json.dumps(self.found[-1]), file=sys.stderr, flush=True)


def draw(folder: Path, split: str, count: int, sizes: int) -> None:
  """Writes images of as many sizes, those of one size one after the other, and their labels."""
  import cv2

  rng = np.random.default_rng(0)
  side = int(np.ceil(np.sqrt(sizes)))
  for kind in ('images', 'labels'):
    (folder / kind / split).mkdir(parents=True, exist_ok=True)
  (folder / 'classes.txt').write_text('\n'.join(CLASSES) + '\n')
  for i in range(count):
    size = i * sizes // count
    height, width = CROP + size // side, CROP + size % side
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    label = np.full((height, width), 2, np.uint8)
    label[:, : width // 3], label[: height // 2, width // 2 :] = 0, 1
    image[..., 0] = 80 * label
    for kind, array in (('images', image), ('labels', label)):
      if not cv2.imwrite(str(folder / kind / split / f'{i:06}.png'), array):
        raise OSError(f'{folder} cannot be written to')


def train(output: Path, steps: int, samples: Samples) -> None:
  """Takes steps as `pspnet train` does, with forty reports, evaluations and checkpoints."""
  from pspnet_jax.config import build, files
  from pspnet_jax.reporting.reporter import Reporter
  from pspnet_jax.training.callbacks import Callback
  from pspnet_jax.training.stop_signals import StopSignals

  class Sampled(Callback):
    def on_log(self, step: int, values: Mapping[str, float]) -> None:
      samples.at(step)

  data, workdir = output / 'data', output / 'run'
  for split in ('train', 'val'):
    draw(data, split, 16, 1)
  path = output / 'soak_config.py'
  every = max(steps // 40, 1)
  path.write_text(_CONFIG.format(steps=steps, crop=CROP, root=str(data), every=every))
  with (
    build.run(files.load(str(path)), workdir) as run,
    StopSignals() as stop,
    Reporter(workdir, total_steps=steps, start_step=run.start_step) as report,
  ):
    if run.start_step:
      raise RuntimeError(f'{workdir} holds a run already: remove it, as its beginning is measured.')
    run.callbacks.append(Sampled())
    run.fit(report, stop)


def predict(output: Path, images: int, sizes: int, samples: Samples, *, whole: bool) -> None:
  """Labels files one after the other, as `pspnet predict` does."""
  from pspnet_jax import predictor
  from pspnet_jax.data.decode import read_image

  folder = _many(output, images, sizes)
  changes: dict[str, Any] = {'window': 'image'} if whole else {'window': (CROP, CROP)}
  model = predictor.load(output / 'run', which='latest', **changes)
  paths = sorted((folder / 'images' / 'val').iterdir())
  pairs = ((path, read_image(path)) for path in paths)
  for done, (_, found) in enumerate(model.predictions(pairs), 1):
    if found.label.max() >= len(CLASSES):
      raise RuntimeError('a label is of no class')
    samples.at(done)


def evaluate(output: Path, images: int, sizes: int, samples: Samples) -> None:
  """Scores whole images, as `pspnet evaluate` does."""
  from pspnet_jax.data.folder import Folder
  from pspnet_jax.evaluation import scoring
  from pspnet_jax.inference.engine import Inference
  from pspnet_jax.weights import members

  source = Folder(_many(output, images, sizes), 'val')
  [found] = members.load([output / 'run'], 'latest', changes={'window': 'image'})
  inference = Inference(found.network, found.card)
  weights = inference.prepare(found.params, found.batch_stats)
  counts = scoring.confusion_matrix(
    inference, weights, source, threads=1, on_progress=samples.at, loss=scoring.PixelLoss()
  )
  pixels = sum(label.size for label in (source[i]['label'] for i in range(len(source))))
  if counts.sum() != pixels:
    raise RuntimeError(f'{counts.sum()} pixels were counted of {pixels}')


def _many(output: Path, images: int, sizes: int) -> Path:
  folder = output / f'images_{images}_{sizes}'
  if not folder.is_dir():
    draw(folder, 'val', images, sizes)
  return folder


def run(part: str, flags: argparse.Namespace) -> dict[str, Any]:
  """Does a part in this process, and returns its samples."""
  output: Path = flags.output
  samples = Samples(flags.steps if part == 'train' else flags.images)
  if part == 'train':
    train(output, flags.steps, samples)
  elif part == 'evaluate':
    evaluate(output, flags.images, flags.sizes, samples)
  else:
    predict(output, flags.images, flags.sizes, samples, whole=part == 'whole')
  return {'question': _question(part, flags), 'samples': samples.found}


def _start(part: str, flags: argparse.Namespace) -> None:
  """Does a part in a process of its own, whose messages go to a file beside the samples.

  Raises:
    RuntimeError: with the last of its messages, if it fails.
  """
  command = [sys.executable, '-m', 'benchmarks.soak', f'--part={part}']
  command += [f'--{name}={getattr(flags, name)}' for name in ('output', 'steps', 'images', 'sizes')]
  path = flags.output / f'{part}.log'
  with path.open('w') as log:
    print(shlex.join(command), file=log, flush=True)
    result = subprocess.run(
      command, stdout=log, stderr=log, cwd=Path(__file__).parent.parent, check=False
    )
  if result.returncode:
    raise RuntimeError(f'{part} failed: {path.read_text(errors="replace")[-800:]}')


def _question(part: str, flags: argparse.Namespace) -> dict[str, Any]:
  if part == 'train':
    return {'steps': flags.steps}
  return {'images': flags.images, 'sizes': flags.sizes}


def table(found: Mapping[str, Any]) -> Iterator[str]:
  """Yields the lines of a table: the first sample of each part and its last."""
  yield f'| {" | ".join(COLUMNS)} |'
  yield f'|---|{"--:|" * (len(COLUMNS) - 1)}'
  for part, of_part in found.items():
    for sample in (of_part['samples'][0], of_part['samples'][-1]):
      figures = [f'{sample["done"]:,}', f'{sample["mb"]:.0f}']
      figures += [f'{sample[key]:.0f}' for key in ('files', 'threads', 'compilations')]
      figures.append(f'{sample["minutes"]:.1f}')
      yield f'| {" | ".join([part, *figures])} |'


def main(arguments: Sequence[str] | None = None) -> None:
  """Parses the command line, runs the parts that are missing, and prints the table."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--output', type=Path, required=True, help='where everything is kept')
  parser.add_argument('--steps', type=int, default=20_000, help='of training')
  parser.add_argument('--images', type=int, default=5_000, help='to label, and to score')
  parser.add_argument('--sizes', type=int, default=300, help='of those images')
  parser.add_argument('--part', choices=PARTS, help='one part alone, in this process')
  flags = parser.parse_args(arguments)
  flags.output = flags.output.resolve()
  flags.output.mkdir(parents=True, exist_ok=True)
  if flags.part:
    found = run(flags.part, flags)
    write_whole(flags.output / f'{flags.part}.json', json.dumps(found, indent=1) + '\n')
    return
  report: dict[str, Any] = {}
  for part in PARTS:
    path = flags.output / f'{part}.json'
    kept = json.loads(path.read_text()) if path.is_file() else {}
    if kept.get('question') != _question(part, flags):
      _start(part, flags)
      kept = json.loads(path.read_text())
    report[part] = kept
    write_whole(flags.output / 'soak.json', json.dumps(report, indent=1) + '\n')
    write_whole(flags.output / 'soak.md', '\n'.join(table(report)) + '\n')
  print('\n'.join(table(report)))


if __name__ == '__main__':
  main()
