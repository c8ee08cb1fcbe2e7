"""What a training image takes of a CPU core, and how many cores feed a device.

    python -m benchmarks.cores [--rate=777,356] [--rounds=3]

Each case is a config of the package with images made up in the size and the format of its data;
they are read, augmented and cropped as in training, by one thread. CPU time is this process's, and
the cases take turns. --rate is images a second, of a crop of 473² and of one of 713², to be fed:
without, the most that one H100 can train a PSPNet-50 with (docs/performance.md).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from benchmarks import photographs
from benchmarks.loader import Repeated
from pspnet_jax import plan
from pspnet_jax.config import files, parts
from pspnet_jax.planning.feeding import core_seconds

IMAGES = 16  # that are made up of each kind; they are read over and over


class Case(NamedTuple):
  """A config, with the size (height, width) and the format of its files.

  `compression` is that of PNG files: 0 has none. What is still is neither rotated nor blurred.
  """

  config: str
  size: tuple[int, int]
  suffix: str
  compression: int = 6
  still: bool = False


ADE20K, CITYSCAPES, VOC = (512, 683), (1024, 2048), (375, 500)
CASES = {
  'ADE20K, 473²': Case('ade20k_pspnet50', ADE20K, '.jpg'),
  'the same without rotation and blur': Case('ade20k_pspnet50', ADE20K, '.jpg', still=True),
  "ADE20K, mmsegmentation's augmentation": Case('ade20k_mmseg:r50-80k', ADE20K, '.jpg'),
  'VOC 2012, 473²': Case('voc2012_pspnet50', VOC, '.jpg'),
  'Cityscapes, 713²': Case('cityscapes_pspnet50', CITYSCAPES, '.png'),
  'the same, without rotation and blur': Case(
    'cityscapes_pspnet50', CITYSCAPES, '.png', still=True
  ),
  'the same, bare PNGs': Case('cityscapes_pspnet50', CITYSCAPES, '.png', compression=0),
  'the same, from JPEGs': Case('cityscapes_pspnet50', CITYSCAPES, '.jpg'),
}


def make_files(root: Path, case: Case, classes: int) -> None:
  """Makes up a folder of images and labels."""
  rng = np.random.default_rng(0)
  for kind in ('images', 'labels'):
    (root / kind / 'train').mkdir(parents=True)
  for index in range(IMAGES):
    image = root / 'images' / 'train' / f'{index:03d}{case.suffix}'
    pixels = photographs.photograph(rng, *case.size)
    if case.suffix == '.jpg':
      photographs.save_image(pixels, image)
    else:
      cv2.imwrite(str(image), pixels, [cv2.IMWRITE_PNG_COMPRESSION, case.compression])
    label = photographs.label(rng, *case.size, classes)
    cv2.imwrite(str(root / 'labels' / 'train' / f'{index:03d}.png'), label)


def measure(root: Path, case: Case) -> float:
  """Seconds of a core that an image takes."""
  config = files.load(case.config)
  if case.still:
    config.augment.rotate_probability = config.augment.blur_probability = 0.0
  source = Repeated(root)
  return core_seconds(source, parts.make_transform(config, source.spec.num_classes))


def main(arguments: Sequence[str] | None = None) -> None:
  """Parses the command line, measures and prints a table."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--rate', default='777,356', help='images/s to be fed, at 473² and at 713²')
  parser.add_argument('--rounds', type=int, default=3)
  parser.add_argument('--only', default='', help='the cases whose names hold this')
  flags = parser.parse_args(arguments)
  rates = dict(zip((473, 713), map(float, flags.rate.split(',')), strict=True))
  cases = {name: case for name, case in CASES.items() if flags.only in name}
  found: dict[str, list[float]] = {name: [] for name in cases}
  sizes = {}
  with tempfile.TemporaryDirectory() as folder:
    for name, case in cases.items():
      make_files(Path(folder, name), case, plan.classes(files.load(case.config)).num_classes)
      written = (x for x in Path(folder, name).rglob('*.*') if x.is_file())
      sizes[name] = sum(x.stat().st_size for x in written) / IMAGES
    for _ in range(flags.rounds):
      for name, case in cases.items():
        found[name].append(measure(Path(folder, name), case))
  print('| files and augmentation | kB | ms of a core | images/s a core | cores a device |')
  print('|---|--:|--:|--:|--:|')
  for name, case in cases.items():
    seconds = statistics.median(found[name])
    cells = f'{sizes[name] / 1e3:.0f} | {1e3 * seconds:.1f} | {1 / seconds:.0f}'
    cores = seconds * rates[713 if case.size == CITYSCAPES else 473]
    print(f'| {name} | {cells} | {cores:.1f} |')


if __name__ == '__main__':
  main()
