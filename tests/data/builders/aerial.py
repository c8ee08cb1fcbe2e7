"""Small archives of aerial images in the published layouts, and what becomes of them.

Labels are decoded here on their own, colour by colour, from tables that are written out once more.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pspnet_jax.data.sources import open_source
from pspnet_jax.prepare import prepare
from tests import published

Colour = tuple[int, int, int]
ISPRS: dict[Colour, int] = {
  (255, 255, 255): 0,  # impervious surface
  (0, 0, 255): 1,  # building
  (0, 255, 255): 2,  # low vegetation
  (0, 255, 0): 3,  # tree
  (255, 255, 0): 4,  # car
  (255, 0, 0): 5,  # clutter
  (0, 0, 0): 255,  # boundary
}
ISAID: dict[Colour, int] = {
  (0, 0, 0): 0,
  (0, 0, 63): 1,
  (0, 63, 63): 2,
  (0, 63, 0): 3,
  (0, 63, 127): 4,
  (0, 63, 191): 5,
  (0, 63, 255): 6,
  (0, 127, 63): 7,
  (0, 127, 127): 8,
  (0, 0, 127): 9,
  (0, 0, 191): 10,
  (0, 0, 255): 11,
  (0, 191, 127): 12,
  (0, 127, 191): 13,
  (0, 127, 255): 14,
  (0, 100, 155): 15,
}


def accept(
  monkeypatch: Any, dataset: str, images: Mapping[str, int], counts: Mapping[str, int]
) -> Any:
  """Lets the builder take so many images, which make so many tiles."""
  cls = published.accept(monkeypatch, dataset, counts)
  monkeypatch.setattr(cls, 'images', images)
  return cls


def picture(name: str, size: tuple[int, int]) -> np.ndarray:
  """Pixels that tell every place of every image: uint8 [H, W, 3]."""
  rng = np.random.default_rng(list(name.encode()))
  return rng.integers(0, 256, (*size, 3), np.uint8)


def drawn(name: str, size: tuple[int, int], classes: Mapping[Colour, int]) -> np.ndarray:
  """A label in the colours of classes, in blocks of 7 pixels: uint8 [H, W, 3]."""
  rng = np.random.default_rng([7, *name.encode()])
  colours = np.array(list(classes), np.uint8)
  blocks = rng.integers(0, len(colours), (size[0] // 7 + 1, size[1] // 7 + 1))
  return colours[blocks.repeat(7, 0).repeat(7, 1)[: size[0], : size[1]]]


def decoded(label: np.ndarray, classes: Mapping[Colour, int]) -> np.ndarray:
  """The ids of a label in colours: uint8 [H, W]."""
  ids = np.full(label.shape[:2], 254, np.uint8)
  for colour, i in classes.items():
    ids[(label == np.array(colour, np.uint8)).all(-1)] = i
  assert 254 not in ids
  return ids


def encoded(pixels: np.ndarray, form: str, **options: Any) -> bytes:
  file = io.BytesIO()
  Image.fromarray(pixels).save(file, form, **options)
  return file.getvalue()


def write_zip(path: Path, members: Iterable[tuple[str, bytes]]) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  with zipfile.ZipFile(path, 'w') as archive:
    for name, data in members:
      archive.writestr(name, data)


def prepared(dataset: str, split: str, folder: Path) -> dict[str, Any]:
  """The examples by name, once the data set is prepared from the archives in a folder."""
  prepare(dataset, folder / 'data', folder)
  source = open_source(dataset, split, data_dir=str(folder / 'data'))
  examples = [source[i] for i in range(len(source))]
  assert len({example['name'] for example in examples}) == len(examples)
  return {example['name']: example for example in examples}
