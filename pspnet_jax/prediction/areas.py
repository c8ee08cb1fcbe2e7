"""A table of how much of each image each class covers: areas.csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pspnet_jax.data.spec import IGNORE_LABEL, DatasetSpec
from pspnet_jax.errors import UserError
from pspnet_jax.runtime.files import write_whole
from pspnet_jax.runtime.plain_text import in_csv

_FIRST = ('image', 'width', 'height')  # columns


class Area(NamedTuple):
  """The areas of one image."""

  width: int  # pixels
  height: int
  counts: tuple[int, ...]  # pixels of each class, and of none


def measure(label: np.ndarray, spec: DatasetSpec) -> Area:
  """Counts the pixels of a label, integers [H, W] of class ids and 255."""
  counts = np.bincount(label.ravel(), minlength=256)
  of_classes = counts[: spec.num_classes].tolist()
  height, width = label.shape
  return Area(width, height, (*of_classes, int(counts[IGNORE_LABEL])))


def write(path: Path, rows: Sequence[tuple[str, Area]], spec: DatasetSpec) -> None:
  """Writes a row an image and a column a class, of shares that add up to 1 with `ignored`.

  Raises:
    UserError: if the file cannot be written.
  """
  text = io.StringIO()
  table = csv.writer(text, lineterminator='\n')
  table.writerow([*_FIRST, *map(in_csv, spec.class_names), 'ignored'])
  for name, area in rows:
    pixels = area.width * area.height
    shares = (f'{count / pixels:.6f}' for count in area.counts)
    table.writerow([in_csv(name), area.width, area.height, *shares])
  write_whole(path, text.getvalue())


def check_own(path: Path) -> None:
  """Refuses to replace a file that `write` has not written."""
  try:
    with path.open('rb') as file:
      begins = file.read(100).startswith(','.join(_FIRST).encode())
  except FileNotFoundError:
    return
  except OSError:
    begins = False
  if not begins:
    raise UserError(f'{path} is there and is no table of areas: give another --output, or move it.')
