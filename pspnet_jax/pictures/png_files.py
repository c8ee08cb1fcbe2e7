"""Pictures as PNG files, which are known again as ours."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.pictures.labels import checked, full_palette
from pspnet_jax.runtime.files import write_whole

_SOFTWARE = 'pspnet_jax'


def write_label(path: Path, label: np.ndarray, spec: DatasetSpec) -> None:
  """Writes a label as an 8-bit palette PNG: viewers show colours, decoders read the ids.

  Arguments and errors are those of `labels.colour`; UserError also if the file cannot be written.
  """
  picture = Image.fromarray(checked(label, spec))
  picture.putpalette(full_palette(spec).tobytes())  # sets mode 'P'; all 256 entries, so ids stay
  write_whole(path, _png(picture))


def write_image(path: Path, image: np.ndarray) -> None:
  """Writes a uint8 [H, W, 3] image as PNG; UserError if that fails."""
  write_whole(path, as_png(image))


def as_png(image: np.ndarray) -> bytes:
  """A uint8 [H, W, 3] image as the content of a PNG file."""
  return _png(Image.fromarray(image))


def is_own_picture(path: Path) -> bool:
  """Whether a file was written here, and so may be replaced."""
  try:
    with Image.open(path, formats=['PNG']) as picture:
      return picture.info.get('Software') == _SOFTWARE
  except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
    return False


def _png(picture: Image.Image) -> bytes:
  encoded = io.BytesIO()  # into a file, Pillow would not say why it cannot write
  about = PngInfo()
  about.add_text('Software', _SOFTWARE)
  picture.save(encoded, 'PNG', pnginfo=about)
  return encoded.getvalue()
