"""Reads the images of a source by one rule, and says once where that may matter."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from pspnet_jax.data.decode import checked_exif, read_with_orientation
from pspnet_jax.data.orientation import UPRIGHT
from pspnet_jax.data.spec import Exif

_log = logging.getLogger(__name__)
_HELD = {'upright': 'turned upright', 'stored': 'left as they are stored'}


class ImageReader:
  """Decodes images; logs the first whose EXIF data turn it, because of the labels.

  Some tools that labels are drawn with turn such an image, and others do not.

  Args:
    exif: whether images are turned as their EXIF data say; see `decode.read_image`.

  Raises:
    UserError: for another `exif`; on calling, for what `decode.read_image` refuses.
  """

  def __init__(self, exif: str):
    self.exif: Exif = checked_exif(exif)
    self._has_said = False

  def __call__(self, path: str | Path, *, data: bytes | None = None) -> np.ndarray:
    """The image: uint8 [H, W, 3]."""
    image, orientation = read_with_orientation(path, exif=self.exif, data=data)
    if orientation != UPRIGHT and not self._has_said:
      self._has_said = True
      _log.warning(
        '%s has the EXIF orientation %d: such images are %s (config.data.exif=%s), and their '
        'labels must have been drawn that way.',
        *(path, orientation, _HELD[self.exif], self.exif),
      )
    return image
