"""The images that an export is compared on, and quantised by."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from pspnet_jax.data.decode import read_image
from pspnet_jax.data.image_files import list_images
from pspnet_jax.data.scenes import ContextScenes
from pspnet_jax.data.spec import Exif
from pspnet_jax.exports.program import Size

_LEAST_OF_A_SCENE = 32


@dataclasses.dataclass(frozen=True)
class SampleImages:
  """Images of a size, evenly chosen from a folder, or drawn.

  Args:
    paths: the files; empty: scenes are drawn.
    size: height and width; files are resized to cover it and cut to it. None: as they are, and
      drawn scenes of two sizes.
    drawn_size: of scenes where the size is free.
    exif: how files are held; see `decode.read_image`.
  """

  paths: tuple[Path, ...]
  size: Size
  drawn_size: tuple[int, int]
  exif: Exif = 'upright'

  @classmethod
  def of(
    cls, folder: Path | None, size: Size, drawn_size: tuple[int, int], exif: Exif
  ) -> SampleImages:
    """Those of a folder or a file, or drawn ones.

    Raises:
      UserError: if there is no image.
    """
    paths = () if folder is None else tuple(list_images(folder).found)
    return cls(paths, size, drawn_size, exif)

  def some(self, most: int, *, apart: SampleImages | None = None) -> SampleImages:
    """Chooses at most so many of them, evenly spread; none that is in `apart`."""
    paths = [path for path in self.paths if apart is None or path not in apart.paths]
    count = min(most, len(paths))
    chosen = (paths[i * len(paths) // count] for i in range(count))
    return dataclasses.replace(self, paths=tuple(chosen))

  def __len__(self) -> int:
    return len(self.paths) or 2

  def __iter__(self) -> Iterator[np.ndarray]:
    if self.paths:
      for path in self.paths:
        yield fitted(read_image(path, exif=self.exif), self.size)
      return
    height, width = self.size or self.drawn_size
    for i in range(2):
      yield _scene(height, width, i)
      if self.size is None:
        height, width = height + 13, width * 3 // 4 + 1


def fitted(image: np.ndarray, size: Size) -> np.ndarray:
  """Resizes uint8 [H, W, 3] so that it covers `size`, and cuts its middle out."""
  if size is None or image.shape[:2] == size:
    return image
  factor = max(want / have for want, have in zip(size, image.shape[:2], strict=True))
  height, width = (
    max(want, round(factor * have)) for want, have in zip(size, image.shape[:2], strict=True)
  )
  how = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
  image = cv2.resize(image, (width, height), interpolation=how)
  top, left = (height - size[0]) // 2, (width - size[1]) // 2
  return image[top : top + size[0], left : left + size[1]]


def _scene(height: int, width: int, index: int) -> np.ndarray:
  sides = max(height, _LEAST_OF_A_SCENE), max(width, _LEAST_OF_A_SCENE)
  return ContextScenes('val', size=sides)[index]['image'][:height, :width]
