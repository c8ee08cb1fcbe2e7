"""Pillow, held to what is wanted of it: formats, pixels, and errors in a sentence."""

from __future__ import annotations

import contextlib
import functools
import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image, ImageFile

from pspnet_jax.data import tiff
from pspnet_jax.errors import BadData
from pspnet_jax.runtime.limits import PIXELS

# Pillow knows more, and runs Ghostscript for one of them, whatever a file is called.
_FORMATS = ('JPEG', 'PNG', 'BMP', 'TIFF', 'WEBP', 'GIF', 'JPEG2000', 'AVIF', 'PPM')


def open_image(
  path: str | Path, data: bytes | None = None, tags: tiff.Tiff | None = None
) -> ImageFile.ImageFile:
  """Opens a file that Pillow is to decode, and reads its header.

  Args:
    path: of the file.
    data: what it holds, if it has been read; `path` is for messages then.
    tags: of a TIFF, for messages.

  Raises:
    BadData: if it is no image, has more pixels than the limit, or several pages or frames.
  """
  with without_its_limit():
    try:
      image = Image.open(path if data is None else io.BytesIO(data), formats=_formats())
    except Exception as error:  # a hostile file makes it raise anything, MemoryError too
      message = f'{path} is not an image that can be decoded: replace or remove it.'
      if tags:
        message = f'{path} has {tags}, stored in a way that Pillow does not read: save it as PNG.'
      raise BadData('not an image', message) from error
    refuse_huge(path, *image.size)
    try:
      count = _pages(image)
    except Exception as error:  # as above
      raise damaged(path) from error
  refuse_pages(path, count)
  return image


def load(path: str | Path, image: Image.Image) -> None:
  """Decodes its pixels.

  Raises:
    BadData: if it is damaged.
  """
  with without_its_limit():
    try:
      image.load()
    except Exception as error:  # as above
      raise damaged(path) from error


def stored_mode(image: Image.Image) -> str:
  """How the file lays out a pixel, such as 'L;4'; known only before the pixels are loaded."""
  tile: Any = image.tile if isinstance(image, ImageFile.ImageFile) else None
  args = tile[0][3] if tile else ''
  first = args[0] if isinstance(args, tuple) and args else args
  return first if isinstance(first, str) else ''


def refuse_huge(path: str | Path, width: int, height: int) -> None:
  """Raises BadData for more pixels than the limit."""
  if excess := PIXELS.exceeded_by(width * height):
    raise BadData('huge image', f'{path} has {width}x{height} = {excess}.')


def refuse_pages(path: str | Path, count: int) -> None:
  """Raises BadData unless there is one page."""
  if count != 1:
    raise BadData(
      'several pages',
      f'{path} holds {count} pages or frames, and which one is meant nobody knows: save each as a '
      'file of its own.',
    )


def damaged(path: str | Path) -> BadData:
  """The error for a file that is truncated or damaged."""
  return BadData('damaged file', f'{path} is truncated or damaged: copy or download it again.')


@functools.cache
def _formats() -> list[str]:
  """Those of the formats that this Pillow was built with."""
  Image.init()
  return [name for name in _FORMATS if name in Image.OPEN]


def _pages(image: Any) -> int:
  """How many pages or frames there are that are not smaller copies of others."""
  if image.format == 'MPO':  # a photo, with others of the same moment behind it
    return 1
  count = getattr(image, 'n_frames', 1)
  if image.format != 'TIFF' or count == 1:
    return count
  whole = 0
  for i in range(count):
    image.seek(i)
    whole += not tiff.of_tags(image.tag_v2).is_thumbnail
  image.seek(0)
  return count if tiff.of_tags(image.tag_v2).is_thumbnail else whole


class _WithoutItsLimit:
  """Keeps Pillow from its own opinion of how many pixels are too many while anyone is inside.

  Ours is another, and a warning in the middle of a command is no way to say it. The setting is the
  whole process's, and so the last to leave restores what the first one found.
  """

  _lock = threading.Lock()
  _inside, _before = 0, Image.MAX_IMAGE_PIXELS

  @contextlib.contextmanager
  def __call__(self) -> Iterator[None]:
    with self._lock:
      if not self._inside:
        self._before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
      self._inside += 1
    try:
      yield
    finally:
      with self._lock:
        self._inside -= 1
        if not self._inside:
          Image.MAX_IMAGE_PIXELS = self._before


without_its_limit = _WithoutItsLimit()
