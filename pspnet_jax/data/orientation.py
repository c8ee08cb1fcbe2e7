"""How a camera was held, as EXIF data say it, and images turned accordingly."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import ExifTags, Image

UPRIGHT = 1
# The remedy where a label was drawn on the frame that its image is not held on.
OTHER_FRAME = 'give --config.data.exif=stored, or upright where stored is set'
_BACK = {6: 8, 8: 6}  # the others undo themselves


def orientation_of(image: Image.Image) -> int:
  """The EXIF orientation: 1 upright, 2-8 mirrored or turned; 1 when unknown."""
  try:
    value = image.getexif().get(ExifTags.Base.Orientation, UPRIGHT)
  except Exception:  # damaged metadata make Pillow raise anything, and the pixels may be sound
    return UPRIGHT
  return value if isinstance(value, int) and 1 <= value <= 8 else UPRIGHT


def turned(pixels: np.ndarray, orientation: int, *, back: bool = False) -> np.ndarray:
  """Holds an image [H, W, ...] upright that is stored with this orientation, or the way back."""
  match _BACK.get(orientation, orientation) if back else orientation:
    case 2:
      return cv2.flip(pixels, 1)
    case 3:
      return cv2.rotate(pixels, cv2.ROTATE_180)
    case 4:
      return cv2.flip(pixels, 0)
    case 5:
      return cv2.transpose(pixels)
    case 6:
      return cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE)
    case 7:
      return cv2.flip(cv2.transpose(pixels), -1)
    case 8:
      return cv2.rotate(pixels, cv2.ROTATE_90_COUNTERCLOCKWISE)
  return pixels
