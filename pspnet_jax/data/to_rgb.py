"""Whatever a notebook holds as an image, as uint8 [H, W, 3]; the door for Python asks for it.

One rule for files, Pillow's images and arrays, so that an image gets the same label whichever way
it comes. What could be read in two ways is refused: floats of 0-1 taken for 0-255 would give a
label of a black picture, without a word.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pspnet_jax.data.decode import read_image, rgb_of
from pspnet_jax.data.spec import Exif
from pspnet_jax.errors import BadData, UserError

_CHANNELS = (1, 3, 4)  # grey, RGB, RGB and alpha


def images_of(given: Any) -> tuple[list[Any], bool]:
  """The images that somebody hands over, and whether they are several: a list, tuple or batch.

  Returns:
    what `to_rgb` takes, one by one, not yet read; and False for a single image.
  """
  if isinstance(given, list | tuple):
    return list(given), True
  if _is_array(given):
    given = _as_array(given)
    return (list(given), True) if given.ndim == 4 else ([given], False)
  return [given], False


def read_each(images: list[Any], several: bool, exif: Exif) -> Iterator[np.ndarray]:
  """Yields what `to_rgb` makes of each; an error names `images[i]` if there are several."""
  for i, image in enumerate(images):
    try:
      yield to_rgb(image, exif)
    except UserError as error:
      if not several:
        raise
      raise UserError(f'images[{i}]: {error}') from error


def to_rgb(image: Any, exif: Exif = 'upright') -> np.ndarray:
  """Turns one image into uint8 [H, W, 3].

  Args:
    image: a path; the bytes of an image file; an image of Pillow's; or a uint8 array, [H, W] and
      [H, W, 1] grey, [H, W, 3] RGB or [H, W, 4] RGBA, of NumPy, JAX, torch or whatever else NumPy
      can read. Grey is repeated three times, and alpha is dropped, which `read_image` does to
      files.
    exif: 'upright' holds files and Pillow's images upright as their EXIF data say, 'stored' does
      not.

  Raises:
    UserError: for anything else; it names type, shape, values and what to give instead.
  """
  if isinstance(image, str | os.PathLike):
    return read_image(Path(image), exif=exif)
  if isinstance(image, bytes | bytearray | memoryview):
    data = bytes(image)
    return read_image(f'image of {len(data):,} bytes', exif=exif, data=data)
  if isinstance(image, Image.Image):
    return _of_pillow(image, exif)
  if _is_array(image):
    return _of_array(_as_array(image))
  raise UserError(
    f'an object of type {type(image).__name__} is no image: give a path, the bytes of an image '
    'file, a PIL image or a uint8 array [H, W, 3].'
  )


def _of_pillow(image: Image.Image, exif: Exif) -> np.ndarray:
  name = f'PIL image ({image.mode}, {image.width}×{image.height})'
  try:
    return rgb_of(name, image, exif=exif)
  except BadData as error:
    if not isinstance(error.__cause__, AssertionError) and 'closed' not in str(error.__cause__):
      raise  # an assertion of Pillow's: there is no file any more
    message = f'{name} was closed before its pixels were read: call its load() first.'
    raise UserError(message) from error


def _is_array(given: Any) -> bool:
  return hasattr(given, '__array__') and not isinstance(given, Image.Image)


def _as_array(given: Any) -> np.ndarray:
  try:
    return np.asarray(given)
  except (TypeError, ValueError, RuntimeError) as error:  # such as a tensor on a GPU
    reason = str(error).strip().splitlines()[0].partition('. ')[0].rstrip('.')
    raise UserError(
      f'NumPy cannot read this {type(given).__name__} ({reason}): give a uint8 array [H, W, 3] on '
      'the host.'
    ) from error


def _of_array(array: np.ndarray) -> np.ndarray:
  described = f'{array.dtype} image {list(array.shape)}'
  if array.ndim == 3 and array.shape[2] not in _CHANNELS and array.shape[0] in _CHANNELS:
    raise UserError(
      f'{described} has its channels first: give [H, W, 3], image.transpose(1, 2, 0) '
      '(image.permute(1, 2, 0) in torch).'
    )
  if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in _CHANNELS):
    raise UserError(f'{described} is neither grey [H, W] nor RGB [H, W, 3]: give one of the two.')
  if not array.size:
    raise UserError(f'{described} has no pixels: give at least one.')
  if array.dtype != np.uint8:
    raise UserError(_not_uint8(array, described))
  if array.ndim == 2 or array.shape[2] == 1:
    array = array.reshape(*array.shape[:2], 1).repeat(3, axis=2)  # [H, W, 3]
  return np.ascontiguousarray(array[..., :3])  # image[..., ::-1], from BGR, runs backwards


def _not_uint8(array: np.ndarray, described: str) -> str:
  """One sentence: which values there are, and how they most likely become uint8."""
  try:
    values = np.asarray(array, np.float64) if not np.iscomplexobj(array) else None
  except (TypeError, ValueError):
    values = None
  if values is None:
    return f'{described} holds no real numbers: give uint8 values of 0 to 255.'
  values = values[np.isfinite(values)]
  if not values.size:
    return f'{described} holds no finite value: give uint8 values of 0 to 255.'
  low, high = values.min(), values.max()
  whole = bool(np.issubdtype(array.dtype, np.integer))
  if low < 0:
    remedy = 'undo the normalisation, which the model does itself, and give uint8 of 0 to 255'
  elif array.dtype == bool or (high <= 1 and not whole):
    remedy = 'multiply by 255 and give uint8'
  elif high <= 255:
    remedy = 'give its values as uint8'
  else:
    remedy = 'choose which range of values becomes 0 to 255 and give uint8'
  return f'{described} with values from {low:g} to {high:g}: {remedy}.'
