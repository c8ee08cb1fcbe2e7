"""Cuts images that are too large for a network into tiles, each an example of its own."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import cv2
import numpy as np

from pspnet_jax.data.builders.base import Builder, Pair
from pspnet_jax.data.decode import read_image
from pspnet_jax.data.in_order import in_order
from pspnet_jax.data.paired_files import sizes_differ
from pspnet_jax.data.pillow import refuse_huge
from pspnet_jax.data.spec import IGNORE_LABEL
from pspnet_jax.errors import UserError


class Tile(NamedTuple):
  """A part of an image."""

  top: int
  bottom: int
  left: int
  right: int


class TiledBuilder(Builder):
  """Writes square tiles of each image as PNGs, and of its label, row by row.

  A tile begins every `stride` pixels, and the last of a row and of a column where it ends with the
  image. An image smaller than a tile is filled up to it, with black to the right and below, and its
  label with ignored pixels. One image is in memory at a time.

  Attributes:
    tile_size: pixels along a side.
    stride: pixels from one tile to the next.
    tile_name: of an example, from the image's `name` and the fields of `Tile`.
    images: how many images each split has, where `counts` says how many tiles.
  """

  tile_size: int
  stride: int
  tile_name: str
  images: ClassVar[Mapping[str, int]]

  def _counts_of_pairs(self) -> Mapping[str, int]:
    return self.images

  def _examples(self, pairs: Sequence[Pair]) -> Iterator[tuple[str, dict[str, Any]]]:
    for pair in pairs:
      for example in self._tiles(pair):
        self.advance()
        yield example['name'], example

  def _tiles(self, pair: Pair) -> Iterator[dict[str, Any]]:
    image, label = self._read(pair)

    def encode(tile: Tile) -> dict[str, Any]:
      part = slice(tile.top, tile.bottom), slice(tile.left, tile.right)
      return {
        'image': _png(image[part][..., ::-1], level=1),  # a twelfth larger than 6, in a quarter
        'label': _png(label[part], level=6),
        'name': self.tile_name.format(name=pair.name, **tile._asdict()),
      }

    yield from in_order(encode, tiles_of(label.shape, self.tile_size, self.stride))

  def _read(self, pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    """The image and its label, filled up to the size of a tile."""
    image = read_image(str(pair.image), exif='stored', data=pair.image.read())
    label = pair.label()
    if label is None:
      label = np.full(image.shape[:2], IGNORE_LABEL, np.uint8)
    if image.shape[:2] != label.shape:
      raise sizes_differ(Path(str(pair.image)), image.shape, Path('its label'), label.shape, 1)
    lack = [(0, max(self.tile_size - side, 0)) for side in label.shape]
    if any(after for _, after in lack):
      refuse_huge(str(pair.image), *(max(self.tile_size, side) for side in label.shape[::-1]))
      image = np.pad(image, [*lack, (0, 0)])
      label = np.pad(label, lack, constant_values=IGNORE_LABEL)
    return image, label

  def _download_and_prepare(self, *args: Any, **kwargs: Any) -> None:
    super()._download_and_prepare(*args, **kwargs)
    files = ' and '.join(download.file for download in self.downloads)
    for split, expected in self.counts.items():
      found = self.info.splits[split].num_examples
      if found != expected:
        raise UserError(
          f'the images of the split {split!r} in {files} make {found:,} tiles instead of '
          f'{expected:,}, so that some are of another size than the published ones: download them '
          'again.'
        )


def tiles_of(size: tuple[int, ...], side: int, stride: int) -> list[Tile]:
  """The tiles of an image of this height and width, row by row; none reaches beyond it."""
  height, width = size
  return [
    Tile(top, top + side, left, left + side)
    for top in starts(height, side, stride)
    for left in starts(width, side, stride)
  ]


def starts(length: int, side: int, stride: int) -> list[int]:
  """Where tiles begin: every `stride`, and where the last one ends with the image."""
  last = max(length - side, 0)
  return [*range(0, last, stride), last]


def _png(pixels: np.ndarray, level: int) -> io.BytesIO:
  """The file for uint8 [H, W] or [H, W, 3], the latter backwards as OpenCV has it."""
  encoded = cv2.imencode('.png', pixels, [cv2.IMWRITE_PNG_COMPRESSION, level])[1]
  return io.BytesIO(encoded.tobytes())
