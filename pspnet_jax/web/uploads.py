"""What visitors of the page hand over: within its limits, decoded by our own readers only."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import numpy as np

from pspnet_jax.data import pillow
from pspnet_jax.data.decode import read_bytes, read_image
from pspnet_jax.data.spec import Exif
from pspnet_jax.errors import BadData, UserError

_BYTES_OF_PIXEL = 4  # of an image that is not compressed
_LEFT_SECONDS = 3600  # after which nobody comes back for an upload


def most_bytes(max_pixels: int) -> int:
  """The largest file that an image of so many pixels needs, in bytes."""
  return _BYTES_OF_PIXEL * max_pixels + 2**20  # and whatever else cameras write


def take(path: Path, folder: Path, *, max_pixels: int, exif: Exif) -> np.ndarray:
  """Reads an upload with `read`, and removes it from the folder of uploads, come what may.

  Which path it is comes from the visitor's browser. One that leads out of the folder is neither
  read nor removed.

  Raises:
    UserError: what `read` raises, or if it is no upload.
  """
  folder = folder.resolve()
  try:
    real = path.resolve()
    if not real.is_relative_to(folder) or not real.is_file():
      raise FileNotFoundError
  except (OSError, ValueError) as error:  # ValueError: a null character
    raise UserError(f'{path.name} is not here, or no longer: drop it in again.') from error
  try:
    return read(real, max_pixels=max_pixels, exif=exif)
  finally:
    real.unlink(missing_ok=True)
    _sweep(folder)


def read(path: Path, *, max_pixels: int, exif: Exif) -> np.ndarray:
  """Decodes a file that came from somewhere else, once its header says that it is not too large.

  Args:
    path: of the file; messages say its name alone, which is all that a visitor knows of it.
    max_pixels: the most pixels of an image.
    exif: see `decode.read_image`.

  Returns:
    uint8 [H, W, 3].

  Raises:
    UserError: for what is no such image; the message is for the visitor.
  """
  try:
    data = read_bytes(path)
  except BadData as error:
    raise BadData(error.kind, str(error).replace(str(path), path.name)) from error
  if len(data) > (most := most_bytes(max_pixels)):
    raise BadData(
      'huge file',
      f'{path.name} has {len(data) / 1e6:,.0f} MB, and this page takes {most / 1e6:,.0f}: save it '
      'smaller.',
    )
  with pillow.open_image(path.name, data) as image:
    width, height = image.size
  if width * height > max_pixels:
    raise BadData(
      'huge image',
      f'{path.name} has {width}×{height} pixels, {_millions(width * height)} million, and this '
      f'page takes {_millions(max_pixels)}: reduce it and try again.',
    )
  return read_image(path.name, exif=exif, data=data)


def held(folder: Path) -> int:
  """The bytes of all uploads that wait to be read; what broken connections left is removed."""
  total, now = 0, time.time()
  for parent, _, names in os.walk(folder):
    for name in names:
      path = Path(parent, name)
      with contextlib.suppress(OSError):  # somebody else was faster
        about = path.stat()
        if now - about.st_mtime > _LEFT_SECONDS:
          path.unlink()
        else:
          total += about.st_size
  return total


def _sweep(folder: Path) -> None:
  """Removes what broken connections left behind, and folders that are empty."""
  held(folder)
  for path in folder.iterdir():
    with contextlib.suppress(OSError):  # not empty, or somebody else was faster
      if path.is_dir():
        path.rmdir()


def _millions(count: int) -> str:
  return f'{count / 1e6:.1f}'.removesuffix('.0')
