"""Views of an image at the scales of a protocol, and how they are cut into windows and tiles."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from pspnet_jax.inference.card import Card
from pspnet_jax.inference.geometry import Axis, Piece, Taps, matlab_taps, resize_image
from pspnet_jax.ops.images import bilinear_taps

Region = tuple[slice, slice]  # rows and columns of an image
Placed = list[tuple[int, Piece]]  # where windows begin along an axis, and where their scores go


@dataclasses.dataclass(frozen=True)
class View:
  """An image at one scale, mirrored or not, and how it is cut."""

  size: tuple[int, int]  # after resizing
  mirrored: bool
  axes: tuple[Axis, Axis]

  @property
  def window(self) -> tuple[int, int]:
    return self.axes[0].window, self.axes[1].window

  @property
  def piece(self) -> tuple[int, int]:
    """Height and width of what a window adds to the canvas, in few different values."""
    return rounded(self.axes[0].longest), rounded(self.axes[1].longest)

  def place(
    self, region: Region, canvas: Sequence[int], piece: Sequence[int] | None = None
  ) -> list[Placed]:
    """The windows that a region of the image needs, along both axes.

    Args:
      region: rows and columns of the image.
      canvas: height and width of the canvas.
      piece: of what a window adds to it, at least those of `piece`; None: those.
    """
    piece = self.piece if piece is None else piece
    return [
      [
        (start, axis.piece(start, part.start, part.stop, length, side))
        for start in axis.starts_within(part.start, part.stop)
      ]
      for axis, part, length, side in zip(self.axes, region, piece, canvas, strict=True)
    ]

  def prepare(self, image: np.ndarray, card: Card) -> np.ndarray:
    """Resizes and mirrors the image uint8 [H, W, 3]; windows are cut from the result.

    It is uint8 where the resampling gives whole numbers. Around the image it is 0, where windows
    get `padding`.
    """
    if self.size != image.shape[:2]:
      image = resize_image(image, self.size, card.protocol.resampling)
    if self.mirrored:
      image = image[:, ::-1]
    vertical, horizontal = self.axes
    inner = vertical.inner, horizontal.inner
    if inner == self.size:
      return image
    padded = np.zeros((*inner, 3), image.dtype)
    top, left = vertical.offset, horizontal.offset
    padded[top : top + self.size[0], left : left + self.size[1]] = image
    return padded

  def padding(self, card: Card) -> np.ndarray:
    """Returns the pixel around the image, float32 [3]."""
    mean = np.asarray(card.mean, np.float32)
    # MATLAB's padarray keeps the image's type and so rounds the mean, but scale_process.m has made
    # an image that fits one window single precision before.
    one_window = max(self.size) <= max(self.window)
    return np.round(mean) if card.protocol.resampling == 'matlab' and not one_window else mean

  def inside(self, y: int, x: int) -> list[int]:
    """Returns what is image of the window that begins at (y, x): top, bottom, left, right."""
    ends: list[int] = []
    for axis, start, length in zip(self.axes, (y, x), self.size, strict=True):
      first = axis.offset - start
      ends += [max(first, 0), min(first + length, axis.window)]
    return ends


def make_views(size: tuple[int, int], card: Card) -> Iterator[View]:
  """Yields the scales of an image of `size`, and their mirror images if the protocol has these."""
  protocol = card.protocol
  mirrorings = (False, True) if protocol.flip and protocol.flip_rule == 'image' else (False,)
  for scale, mirrored in itertools.product(protocol.scales, mirrorings):
    scaled = protocol.scaled_size(size, scale)
    window = protocol.window_size(scaled, card.crop_size)
    vertical, horizontal = (
      Axis(
        size[axis],
        scaled[axis],
        window[axis],
        protocol.stride,
        protocol.padding,
        _taps(scaled[axis], size[axis], card),
        mirrored=mirrored and axis == 1,
        blend=protocol.blend,
      )
      for axis in (0, 1)
    )
    yield View(scaled, mirrored, (vertical, horizontal))


def largest_piece(views: Iterable[View]) -> tuple[int, int]:
  """Height and width that hold the piece of any of the views."""
  heights, widths = zip(*(view.piece for view in views), strict=True)
  return max(heights), max(widths)


def _taps(scaled: int, size: int, card: Card) -> Taps:
  """How scores are resized from a view to the image, along one axis."""
  if scaled == size:
    return np.arange(size)[:, None], np.ones((size, 1))
  if card.protocol.resize_back == 'matlab':
    return matlab_taps(scaled, size)
  by_network = card.protocol.resize_back == 'network'
  align_corners = by_network and card.network.get('align_corners', True)
  return bilinear_taps(scaled, size, align_corners)


def tiles(size: tuple[int, int], piece: tuple[int, int], most: int) -> list[Region]:
  """Cuts an image into parts, row by row, whose canvas has at most `most` pixels.

  A canvas is no smaller than the piece that a window adds to it: below that, tiles save nothing.
  """
  tile = list(size)
  while max(tile[0], piece[0]) * max(tile[1], piece[1]) > most:
    longer = int(tile[1] > tile[0])
    if tile[longer] <= piece[longer]:
      break
    count = -(-size[longer] // tile[longer]) + 1
    tile[longer] = min(-(-size[longer] // count), tile[longer] - 1)  # one more may be no smaller
  rows, columns = (range(0, side, step) for side, step in zip(size, tile, strict=True))
  return [
    (slice(y, min(y + tile[0], size[0])), slice(x, min(x + tile[1], size[1])))
    for y, x in itertools.product(rows, columns)
  ]


def rounded(size: int, step: int = 64) -> int:
  """Rounds up to a multiple of `step`: many sizes then share few shapes."""
  return -(-size // step) * step
