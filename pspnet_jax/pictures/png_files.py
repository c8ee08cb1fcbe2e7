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
_MARK = 'Made from'  # what, with which weights and settings: the name of the text in the file


def write_label(path: Path, label: np.ndarray, spec: DatasetSpec, mark: str = '') -> None:
  """Writes a label as an 8-bit palette PNG: viewers show colours, decoders read the ids.

  Arguments and errors are those of `labels.colour`; UserError also if the file cannot be written.
  `mark` is for `mark_of`.
  """
  write_whole(path, label_as_png(label, spec, mark))


def label_as_png(label: np.ndarray, spec: DatasetSpec, mark: str = '') -> bytes:
  """Returns the content of the file that `write_label` writes."""
  picture = Image.fromarray(checked(label, spec))
  picture.putpalette(full_palette(spec).tobytes())  # sets mode 'P'; all 256 entries, so ids stay
  return _png(picture, mark)


def write_image(path: Path, image: np.ndarray, mark: str = '') -> None:
  """Writes an image, uint8 [H, W, 3] or grey [H, W], as PNG; UserError if that fails."""
  write_whole(path, _png(Image.fromarray(image), mark))


def as_png(image: np.ndarray) -> bytes:
  """A uint8 [H, W, 3] image as the content of a PNG file."""
  return _png(Image.fromarray(image))


def mark_of(path: Path) -> str | None:
  """Returns the mark that a file was written here with, '' without one; None if it was not."""
  try:
    with Image.open(path, formats=['PNG']) as picture:
      ours = picture.info.get('Software') == _SOFTWARE
      return str(picture.info.get(_MARK, '')) if ours else None
  except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
    return None


def _png(picture: Image.Image, mark: str = '') -> bytes:
  encoded = io.BytesIO()  # into a file, Pillow would not say why it cannot write
  about = PngInfo()
  about.add_text('Software', _SOFTWARE)
  if mark:
    about.add_text(_MARK, mark)
  picture.save(encoded, 'PNG', pnginfo=about)
  return encoded.getvalue()
