"""Colours as numbers, 65536 r + 256 g + b, one a pixel: int32 [H, W]."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from pspnet_jax.errors import BadData

_MODES = ('1', 'L', 'LA', 'P', 'RGB', 'RGBA')  # of Pillow's, whose colours are exact


def of_pillow(path: str | Path, image: Image.Image) -> np.ndarray:
  """The colours of a loaded image; `path` is for messages.

  Raises:
    BadData: for pixels that are no colours of 8 bits, transparent, or beyond the palette.
  """
  if image.mode not in _MODES:
    raise BadData(
      'deep label' if image.mode[0] in 'IF' else 'colour label',
      f'{path} has pixels of the kind {image.mode}, no RGB colours of 8 bits: save it as RGB PNG.',
    )
  pixels = np.asarray(image)
  if image.mode == 'P':
    colours = np.array(image.getpalette() or [], np.int32).reshape(-1, 3)
    if pixels.max() >= len(colours):
      raise BadData(
        'damaged file',
        f'{path} has pixels of index {pixels.max()}, and its palette {len(colours)} colours: save '
        'it again.',
      )
    table = np.zeros(256, np.int32)
    table[: len(colours)] = colours @ np.array([1 << 16, 1 << 8, 1], np.int32)
    return cv2.LUT(pixels, table)  # several times faster than table[pixels]
  if image.mode in ('1', 'L'):
    return pixels.astype(np.int32) * (255 if image.mode == '1' else 1) * 0x010101
  backwards = [0, 0, 0, 1] if image.mode == 'LA' else [2, 1, 0, 3][: pixels.shape[2]]
  return of_bgr(path, np.ascontiguousarray(pixels[..., backwards]))


def of_bgr(path: str | Path, pixels: np.ndarray) -> np.ndarray:
  """The colours of uint8 [H, W, 3 or 4], BGR or BGRA as OpenCV has them.

  Raises:
    BadData: for pixels that are transparent.
  """
  if pixels.shape[2] == 4 and pixels[..., 3].min() < 255:
    raise BadData(
      'transparent label',
      f"{path} has pixels whose alpha is below 255, and what colour they have is anyone's guess: "
      'save it without an alpha channel.',
    )
  if pixels.shape[2] == 3:
    pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2BGRA)
  packed = pixels.view('<i4')[..., 0]
  return np.bitwise_and(packed, 0xFFFFFF, out=packed)


def triples(values: Iterable[int]) -> tuple[tuple[int, int, int], ...]:
  """A palette r, g, b, r, g, b, ... as colours."""
  values = list(values)
  return tuple(zip(values[::3], values[1::3], values[2::3], strict=True))
