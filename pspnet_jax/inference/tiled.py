"""Images as the tiles that are done at a time, and the results of all put together again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from pspnet_jax.inference.views import Region, rounded, tiles

CANVAS_STEP = 128  # canvases are rounded up to multiples of this: few shapes for many image sizes

Size = tuple[int, int]  # height, width


class Tile(NamedTuple):
  """A part of an image, all of it as a rule."""

  tag: Any  # whatever the image is known by
  image: np.ndarray  # uint8 [H, W, 3], the whole of it
  region: Region

  @property
  def size(self) -> Size:
    rows, columns = self.region
    return rows.stop - rows.start, columns.stop - columns.start

  def canvas(self, piece: Size = (1, 1)) -> Size:
    """Height and width of a canvas for it and for pieces of a size."""
    (height, width), (h, w) = self.size, piece
    return rounded(max(height, h), CANVAS_STEP), rounded(max(width, w), CANVAS_STEP)


def cut(
  images: Iterable[tuple[Any, np.ndarray]], piece: Callable[[Size], Size], most: int
) -> Iterator[Tile]:
  """Cuts (tag, image) pairs into tiles of at most `most` pixels.

  Args:
    images: each uint8 [H, W, 3].
    piece: the size of the largest piece that a window of an image adds to its canvas.
    most: see `views.tiles`.
  """
  for tag, image in images:
    height, width = image.shape[:2]
    for region in tiles((height, width), piece((height, width)), most):
      yield Tile(tag, image, region)


def joined(
  results: Iterable[tuple[Tile, jax.Array]],
) -> Iterator[tuple[Any, jax.Array | np.ndarray]]:
  """Yields the tag and the result of each image, of which [:H, :W] is the image's.

  Args:
    results: those of all tiles in the order of `cut`, each larger than its tile.
  """
  assembled: np.ndarray | None = None
  for tile, result in results:
    size = tile.image.shape[:2]
    if tile.size == size:
      yield tile.tag, result
      continue
    if assembled is None:
      height, width = (rounded(side, CANVAS_STEP) for side in size)
      assembled = np.zeros((height, width, *result.shape[2:]), result.dtype)
    assembled[tile.region] = np.asarray(result)[: tile.size[0], : tile.size[1]]
    if tuple(part.stop for part in tile.region) == size:  # the last one
      yield tile.tag, assembled
      assembled = None


def with_sizes(
  images: Iterable[tuple[Any, np.ndarray]],
) -> Iterator[tuple[tuple[Any, Size], np.ndarray]]:
  """Yields (tag, image) pairs with the image's size beside the tag, for `cut_out`."""
  for tag, image in images:
    yield (tag, (image.shape[0], image.shape[1])), image


def cut_out(results: Iterable[tuple[Any, Any]]) -> Iterator[tuple[Any, np.ndarray]]:
  """Cuts what belongs to each image out of its canvas, as an array that may be written to."""
  for (tag, (height, width)), result in results:
    yield tag, np.require(np.asarray(result)[:height, :width], requirements='W')
