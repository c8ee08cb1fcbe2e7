"""What a core has to do for one training image: this pipeline beside the one of hszhao/semseg.

    python -m benchmarks.loader [--images=DIR] [--json=FILE] [--rounds=3]

Both read the same files, augment to 473x473 and make batches of 16 with two workers. The designs
take turns, each measurement in a process of its own, and the table has the medians. CPU time is
user and system time of the process and its workers once they are warm: unlike images/s it hardly
depends on what else the machine is doing. Without a folder of images, 64 JPEGs of 683x512 with the
spectrum of photographs are made; both pipelines go round and round them, as in one long epoch.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import psutil

from benchmarks import photographs
from benchmarks.semseg_pipeline import semseg_batches
from pspnet_jax.data.augment import Augment
from pspnet_jax.data.decode import read_image
from pspnet_jax.data.folder import Folder
from pspnet_jax.data.image_files import list_images
from pspnet_jax.data.in_order import in_order
from pspnet_jax.data.label_ids import label_table, read_label
from pspnet_jax.data.loader import Transform, train_batches
from pspnet_jax.data.spec import IMAGENET_MEAN, IMAGENET_STD, Example
from pspnet_jax.runtime.files import write_whole

NUM_CLASSES = 150
CROP = (473, 473)
BATCH, WORKERS = 16, 2
WARM_UP, STEPS = 3, 24
TABLE = label_table(range(NUM_CLASSES))


def make_data(root: Path, images: Path | None) -> None:
  """A folder data set at `root`: links to `images`, or images made up; labels always made up."""
  rng = np.random.default_rng(0)
  for kind in ('images', 'labels'):
    (root / kind / 'train').mkdir(parents=True)
  paths = list_images(images).found if images else [None] * 64
  for index, path in enumerate(paths):
    name = root / 'images' / 'train' / f'{index:05d}{path.suffix if path else ".jpg"}'
    if path:
      name.symlink_to(path.resolve())
      height, width = read_image(path).shape[:2]
    else:
      height, width = 512, 683
      photographs.save_image(photographs.photograph(rng, height, width), name)
    label = photographs.label(rng, height, width, NUM_CLASSES)
    cv2.imwrite(str(root / 'labels' / 'train' / f'{index:05d}.png'), label)


class Repeated:
  """As long a source as ADE20K is: shuffling a few dozen takes Grain 0.4 ms an example."""

  def __init__(self, root: Path):
    self.folder = Folder(str(root), class_names=[str(i) for i in range(NUM_CLASSES)])
    self.spec = self.folder.spec

  def __len__(self) -> int:
    return 20210

  def __getitem__(self, index: int) -> Example:
    return self.folder[index % len(self.folder)]


def ours(root: Path, transform: Transform, start_step: int = 0) -> Iterator:
  options = {'transform': transform, 'batch_size': BATCH, 'seed': 0, 'threads': WORKERS}
  return train_batches(Repeated(root), start_step=start_step, **options)


def normalised(root: Path) -> Iterator:
  """Like for like: float32 images and int64 labels, as the other pipeline hands them over."""
  values = (np.arange(256)[:, None] - np.float32(IMAGENET_MEAN)) / np.float32(IMAGENET_STD)
  table = values.astype(np.float32)[None]  # [1, 256, 3]
  for batch in ours(root, Augment(CROP)):
    images = np.empty(batch['image'].shape, np.float32)
    for source, target in zip(batch['image'], images, strict=True):
      cv2.LUT(source, table, dst=target)
    yield {'image': images, 'label': batch['label'].astype(np.int64)}


MMSEG = Augment(
  CROP,
  base_size=(2048, 512),
  rotate_probability=0,
  blur_probability=0,
  cat_max_ratio=0.75,
  photometric=True,
  pad_centred=False,
)


def decoding(root: Path, read: Callable[[str, str], object]) -> Iterator:
  """What is left when nothing but reading the files is done, by as many threads."""
  images, labels = (sorted((root / kind / 'train').iterdir()) for kind in ('images', 'labels'))
  pairs = [(str(i), str(j)) for i, j in zip(images, labels, strict=True)]
  stream = in_order(lambda i: read(*pairs[i % len(pairs)]), range(10**6), threads=WORKERS)
  while True:
    yield list(itertools.islice(stream, BATCH))


def strict(image: str, label: str) -> None:
  read_image(image), read_label(label, TABLE)


def lenient(image: str, label: str) -> None:
  cv2.cvtColor(cv2.imread(image), cv2.COLOR_BGR2RGB), cv2.imread(label, cv2.IMREAD_GRAYSCALE)


DESIGNS = {
  'semseg transforms, torch DataLoader, f32': lambda r: semseg_batches(r, CROP, BATCH, WORKERS),
  'ours, f32 normalised on the host': normalised,
  'ours, uint8': lambda root: ours(root, Augment(CROP)),
  'ours, uint8, from step 10,000,000': lambda root: ours(root, Augment(CROP), 10**7),
  "ours, uint8, mmseg's augmentation": lambda root: ours(root, MMSEG),
  'decoding only, ours (strict)': lambda root: decoding(root, strict),
  'decoding only, cv2.imread': lambda root: decoding(root, lenient),
}


def measure(design: str, root: Path) -> dict[str, float]:
  """Images a second and CPU milliseconds an image, of this process and its workers once warm."""
  began = time.perf_counter()
  batches = DESIGNS[design](root)
  next(batches)
  first = time.perf_counter() - began
  for _ in range(WARM_UP - 1):
    next(batches)
  began, cpu = time.perf_counter(), _cpu_seconds()
  for _ in range(STEPS):
    next(batches)
  images = BATCH * STEPS
  cpu = (_cpu_seconds() - cpu) / images
  rate = images / (time.perf_counter() - began)
  return {'images_per_s': rate, 'cpu_ms': 1e3 * cpu, 'first_batch_s': first}


def _family(process: psutil.Process) -> list[psutil.Process]:
  return [process, *process.children(recursive=True)]


def _cpu_seconds() -> float:
  times = [process.cpu_times() for process in _family(psutil.Process())]
  return sum(time.user + time.system for time in times)


def measure_elsewhere(design: str, root: Path) -> dict[str, float]:
  """`measure` in a process of its own; its peak memory is watched from here."""
  command = [sys.executable, '-m', 'benchmarks.loader', f'--measure={design}', f'--images={root}']
  peak = 0
  with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
    while process.poll() is None:
      try:  # proportional set size: pages that workers share count once
        family = _family(psutil.Process(process.pid))
        peak = max(peak, sum(member.memory_full_info().pss for member in family))
      except (psutil.Error, FileNotFoundError):  # a worker has just ended
        pass
      time.sleep(0.1)
    output = process.stdout.read()
  if process.returncode:
    raise RuntimeError(f'measuring {design!r} failed')
  return {**json.loads(output.splitlines()[-1]), 'peak_mb': peak / 2**20}


def report(results: dict[str, dict[str, float]]) -> None:
  """Prints the table."""
  import rich.console
  import rich.table

  table = rich.table.Table(title=f'{CROP[0]}x{CROP[1]}, batch {BATCH}, {WORKERS} workers')
  table.add_column('design')
  for column in ('CPU ms an image', 'images/s', 'peak MB', 'first batch s'):
    table.add_column(column, justify='right')
  for design, row in results.items():
    numbers = row['cpu_ms'], row['images_per_s'], row['peak_mb'], row['first_batch_s']
    table.add_row(design, *(f'{x:.{d}f}' for x, d in zip(numbers, (2, 0, 0, 2), strict=True)))
  rich.console.Console().print(table)


def main() -> None:
  """Parses the command line and measures."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--images', type=Path, help='a folder of images; made up when absent')
  parser.add_argument('--json', type=Path, help='where to write the figures')
  parser.add_argument('--rounds', type=int, default=3, help='measurements of each design')
  parser.add_argument('--measure', choices=DESIGNS, help=argparse.SUPPRESS)
  arguments = parser.parse_args()
  if arguments.measure:
    print(json.dumps(measure(arguments.measure, arguments.images)))
    return
  with tempfile.TemporaryDirectory() as folder:
    root = Path(folder)
    make_data(root, arguments.images)
    rounds = [
      {design: measure_elsewhere(design, root) for design in DESIGNS}
      for _ in range(arguments.rounds)
    ]
  results = {
    design: {
      name: statistics.median(one[design][name] for one in rounds) for name in rounds[0][design]
    }
    for design in DESIGNS
  }
  report(results)
  if arguments.json:
    packages = ('numpy', 'opencv-python-headless', 'pillow', 'grain', 'torch')
    versions = {name: importlib.metadata.version(name) for name in packages}
    about = {'cores': os.cpu_count(), 'python': platform.python_version(), **versions}
    content = {'about': about, 'median': results, 'rounds': rounds}
    write_whole(arguments.json, json.dumps(content, indent=2) + '\n')


if __name__ == '__main__':
  main()
