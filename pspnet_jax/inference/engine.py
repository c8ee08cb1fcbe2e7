"""From images of any size to labels, by any protocol: windows in batches, on the device."""

from __future__ import annotations

import collections
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pspnet_jax.inference import on_device
from pspnet_jax.inference.card import Card
from pspnet_jax.inference.division import divide
from pspnet_jax.inference.geometry import Piece
from pspnet_jax.inference.on_device import Pieces, Sums, Windows, add_softmax, argmax, top
from pspnet_jax.inference.programs import RecentPrograms
from pspnet_jax.inference.tiled import Size, Tile, cut, joined
from pspnet_jax.inference.views import largest_piece, make_views
from pspnet_jax.models.network import Arrays, Network
from pspnet_jax.runtime import compiler_options, parallel

_AHEAD = 2  # images that an accelerator is given before the result of one is asked for

Weights = on_device.Weights
Finish = Callable[['_Canvas'], jax.Array]
OnScores = Callable[[Tile, Sums], None]


@dataclasses.dataclass
class _Canvas:
  """Where the scores of all views of a tile are summed."""

  tile: Tile
  windows_left: collections.deque[int]  # of each view
  scores: jax.Array  # float32 [H, W, C], rounded up beyond the tile
  of_view: jax.Array | None = None  # the same of one view, where its softmax is to be taken


class _Window(NamedTuple):
  """A piece of a view on its way through the network."""

  canvas: _Canvas
  view: int  # which of the image's
  pixels: np.ndarray  # uint8 or float32 [h, w, 3]
  inside: list[int]  # what of it is image; see `on_device.Windows`
  padding: np.ndarray
  pieces: tuple[Piece, Piece]  # where its scores go


class Inference:
  """Runs a network over images of any size, as the card's protocol says.

  The network is compiled once for each window shape, not for each image size. Windows of one shape
  are run together, whichever views and images they come from, and all devices of this process share
  them, or the rows of each (`division`). Each window's scores are brought to the image's size by
  themselves and added to the image's canvas: averaging where windows overlap and resizing are
  linear (`geometry.Axis`), so no canvas is needed for a view. An image whose canvas would be larger
  than `canvas_mb` is done in tiles; windows across their borders are run for each.

  Args:
    network: the network.
    card: pixels' mean and std, crop size and the protocol.
    batch_size: windows run together; None: what suits the device.
    canvas_mb: megabytes of scores an image may take on the device.
    split_height: whether the devices share the rows of whole images, too large for one of them.
    deterministic: see `compiler_options.for_network`.

  Raises:
    UserError: for `split_height` where windows are slid over the images.
  """

  def __init__(
    self,
    network: Network,
    card: Card,
    *,
    batch_size: int | None = None,
    canvas_mb: int = 1024,
    split_height: bool = False,
    deterministic: bool = False,
  ):
    self.card = card
    self._network = network
    self._division = division = divide(card, split_height=split_height)
    platform = division.mesh.devices.flat[0].platform
    if not batch_size:  # on a CPU, more windows at once take more memory and no less time
      batch_size = 1 if platform == 'cpu' or split_height else 8
    self.batch_size = -(-batch_size // division.together) * division.together
    self._batch_sizes: dict[tuple[int, ...], int] = {}  # of each window shape
    self._fractions: set[tuple[int, ...]] = set()  # window shapes that are sent as float32
    self._ahead = 0 if platform == 'cpu' else _AHEAD
    protocol = card.protocol
    mirror = protocol.flip and protocol.flip_rule != 'image'
    self._views = len(protocol.scales) * (1 + (protocol.flip and not mirror))
    self._softmax_last = protocol.average == 'logits'
    self._of_view = self._softmax_last and self._views > 1  # needs a canvas of its own
    self._sums_logits = self._softmax_last and not self._of_view
    pixel = 4 * card.spec.num_classes * (2 if self._of_view else 1)
    self.canvas_pixels = canvas_mb * 2**20 // pixel
    options = compiler_options.for_network(platform, train=False, deterministic=deterministic)
    make_programs = functools.partial(
      division.programs, network.folded(), card, mirror=mirror, compiler_options=options
    )
    self._programs = RecentPrograms(make_programs)

  def prepare(self, params: Arrays, batch_stats: Arrays) -> Weights:
    """Folds the weights of the network and brings them to this process's devices, once."""
    folded = self._network.fold(params, batch_stats)
    return jax.device_put(folded, parallel.replicated(self._division.mesh))

  def labels(
    self,
    weights: Weights,
    images: Iterable[tuple[Any, np.ndarray]],
    on_scores: OnScores | None = None,
  ) -> Iterator[tuple[Any, jax.Array | np.ndarray]]:
    """Labels a stream of (tag, image uint8 [H, W, 3]).

    Args:
      weights: of `prepare`.
      images: the images, each with anything to know it by.
      on_scores: called with the scores of each tile ahead of its label, perhaps some images ahead.

    Yields:
      (tag, label), in the order of the images. The label, uint8 and on the device as a rule, has
      one of few shapes, whatever the images': [:H, :W] of it is the image's.
    """

    def finish(canvas: _Canvas) -> jax.Array:
      if on_scores is not None:
        on_scores(canvas.tile, Sums(canvas.scores, self._views, self._sums_logits))
      return argmax(canvas.scores)

    return joined(self._stream(weights, self._cut(images), finish))

  def labels_and_confidence(
    self, weights: Weights, images: Iterable[tuple[Any, np.ndarray]]
  ) -> Iterator[tuple[Any, jax.Array | np.ndarray]]:
    """Like `labels`, but yields the probability of the class and the class: float32 [H, W, 2]."""

    def finish(canvas: _Canvas) -> jax.Array:
      return top(canvas.scores, self._views, logits=self._sums_logits)

    return joined(self._stream(weights, self._cut(images), finish))

  def probabilities(
    self, weights: Weights, images: Iterable[tuple[Any, np.ndarray]]
  ) -> Iterator[tuple[Any, jax.Array | np.ndarray]]:
    """Like `labels`, but yields the probability of each class: float32 [H, W, C]."""
    return joined(self.tile_probabilities(weights, self._cut(images)))

  def tile_probabilities(
    self, weights: Weights, tiles: Iterable[Tile]
  ) -> Iterator[tuple[Tile, jax.Array]]:
    """Yields the probabilities of each tile: float32 [h, w, C], [:H, :W] of it is the tile's."""

    def finish(canvas: _Canvas) -> jax.Array:
      scores = canvas.scores
      return jax.nn.softmax(scores) if self._sums_logits else scores / self._views

    return self._stream(weights, tiles, finish)

  def piece(self, size: Size) -> Size:
    """Height and width of the largest piece that a window of an image of `size` adds to it."""
    return largest_piece(make_views(size, self.card))

  def _cut(self, images: Iterable[tuple[Any, np.ndarray]]) -> Iterator[Tile]:
    return cut(images, self.piece, self.canvas_pixels)

  def _stream(
    self, weights: Weights, tiles: Iterable[Tile], finish: Finish
  ) -> Iterator[tuple[Tile, jax.Array]]:
    waiting: list[_Window] = []  # of one shape
    order: collections.deque[_Canvas] = collections.deque()
    computed: collections.deque[tuple[Tile, jax.Array]] = collections.deque()  # or about to be
    given: jax.Array | None = None  # the last result

    def flush() -> None:
      if waiting:
        self._process(weights, waiting)
        waiting.clear()

    def finished(ahead: int) -> Iterator[tuple[Tile, jax.Array]]:
      """Yields results but the last few, which are computed while the next image is read."""
      nonlocal given
      while order and not order[0].windows_left:
        canvas = order.popleft()
        computed.append((canvas.tile, finish(canvas)))
      while len(computed) > ahead:
        tile, result = computed.popleft()
        # Or memory would fill with what the device has not come to yet.
        if given is not None and not given.is_deleted():
          given.block_until_ready()
        given = result
        yield tile, result

    for tile in tiles:
      for window in self._windows(tile, order):
        if waiting and waiting[0].pixels.shape != window.pixels.shape:
          flush()
          yield from finished(self._ahead)
        waiting.append(window)
        if len(waiting) == self.batch_size:
          flush()
          yield from finished(self._ahead)
    flush()
    yield from finished(0)

  def _windows(self, tile: Tile, order: collections.deque[_Canvas]) -> Iterator[_Window]:
    """Windows of all views that a tile needs; the canvas that waits for them joins `order`."""
    image = tile.image
    views = list(make_views((image.shape[0], image.shape[1]), self.card))
    sides = self._division.canvas_size(tile.canvas(largest_piece(views)))
    placed = [self._division.place(view, tile.region, sides) for view in views]
    counts = collections.deque(len(rows) * len(columns) for rows, columns in placed)
    canvas = _Canvas(tile, counts, self._zeros((*sides, self.card.spec.num_classes)))
    order.append(canvas)
    for i, (view, (rows, columns)) in enumerate(zip(views, placed, strict=True)):
      pixels, padding = view.prepare(image, self.card), view.padding(self.card)
      h, w = view.window
      for (y, row), (x, column) in itertools.product(rows, columns):
        window = pixels[y : y + h, x : x + w]
        yield _Window(canvas, i, window, view.inside(y, x), padding, (row, column))

  def _zeros(self, shape: tuple[int, ...]) -> jax.Array:
    return jnp.zeros(shape, jnp.float32, device=self._division.canvas)

  def _process(self, weights: Weights, waiting: list[_Window]) -> None:
    """Runs windows of one shape and adds their scores to the canvases."""
    # One batch size a window shape, so that it compiles once; a few windows, all of a small image,
    # need not wait for as many as a batch may hold.
    shape = waiting[0].pixels.shape
    full = self._batch_sizes.get(shape, self._division.together)
    if shape not in self._batch_sizes or len(waiting) == self.batch_size:
      while full < len(waiting):
        full *= 2
      full = self._batch_sizes[shape] = min(full, self.batch_size)
    run, add = self._programs.of(shape)
    for begin in range(0, len(waiting), full):
      windows = waiting[begin : begin + full]
      logits = run(weights, self._to_device(windows, full))  # [N, M, h', w', C]
      logits = jax.device_put(logits, self._division.logits)
      numbered = enumerate(windows)
      for _, group in itertools.groupby(numbered, lambda x: (id(x[1].canvas), x[1].view)):
        self._add(add, logits, list(group), full)

  def _to_device(self, windows: Sequence[_Window], full: int) -> Windows:
    """Starts the transfer of windows, some twice if they do not fill a batch."""
    windows = [*windows, *[windows[0]] * (full - len(windows))]
    shape = windows[0].pixels.shape
    if any(window.pixels.dtype != np.uint8 for window in windows):
      self._fractions.add(shape)  # from now on, so that it compiles once
    dtype = np.float32 if shape in self._fractions else np.uint8
    batch = Windows(
      np.stack([x.pixels for x in windows], dtype=dtype, casting='safe'),
      np.array([x.inside for x in windows], np.int32),
      np.stack([x.padding for x in windows]),
    )
    return jax.device_put(batch, self._division.pixels)

  def _add(self, add: Any, logits: jax.Array, group: list[tuple[int, _Window]], full: int) -> None:
    """Adds windows of one view to their canvas: a whole batch of them at once.

    Others are added one by one, as every number of them would be compiled for every canvas.
    """
    canvas = group[0][1].canvas
    for part in [group] if len(group) == full else [[x] for x in group]:
      if not self._of_view:
        canvas.scores = add(canvas.scores, logits, _stacked(part))
      else:
        view = self._zeros(canvas.scores.shape) if canvas.of_view is None else canvas.of_view
        canvas.of_view = add(view, logits, _stacked(part))
    canvas.windows_left[0] -= len(group)
    if not canvas.windows_left[0]:
      canvas.windows_left.popleft()
      if canvas.of_view is not None:
        canvas.scores, canvas.of_view = add_softmax(canvas.scores, canvas.of_view), None


def _stacked(group: Sequence[tuple[int, _Window]]) -> Pieces:
  pieces = [window.pieces for _, window in group]
  positions = [(row.position, column.position) for row, column in pieces]
  taps = [(row.index, row.weight, column.index, column.weight) for row, column in pieces]
  numbers = np.array([i for i, _ in group], np.int32)
  return Pieces(numbers, np.array(positions, np.int32), *map(np.stack, zip(*taps, strict=True)))
