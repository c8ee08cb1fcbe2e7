"""A network of no weights, and images that end the process that labels them."""

import os
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from PIL import Image

from pspnet_jax.data.palettes import default_palette
from pspnet_jax.data.spec import DatasetSpec

ALWAYS, ONCE, FAULT = 13, 14, 15  # the first pixel of images that end the process, or raise


class Bright:
  """Labels what is bright as class 1."""

  spec = DatasetSpec(('dark', 'bright'), default_palette(2))
  card, origin = SimpleNamespace(exif='upright'), 'step 6 of a run'
  notes = ('A and B call a class by other words.',)

  def __init__(self, folder: Path):
    self._folder = folder

  def identity(self):
    return 'bright'

  def stream(self, images):
    for tag, image in images:
      first, flag = image[0, 0, 0], self._folder / 'ended'
      if first == ALWAYS or (first == ONCE and not flag.exists()):
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
      if first == FAULT:
        raise RuntimeError('cuDNN lost its way')
      yield tag, (image[..., 0] > 99).astype(np.uint8)


def load(workdirs, *, which='best', **options):
  """Stands in for `predictor.load`."""
  [folder] = workdirs
  return Bright(folder)


def write_image(path: Path, first: int = 0) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  pixels = np.random.default_rng(len(path.name) + first).integers(0, 255, (6, 8, 3), np.uint8)
  pixels[0, 0] = first
  Image.fromarray(pixels).save(path)
