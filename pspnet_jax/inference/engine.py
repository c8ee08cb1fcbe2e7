"""From images of any size to labels, by any protocol: windows in batches, on the device."""

from __future__ import annotations

import collections
import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pspnet_jax.inference.card import Card
from pspnet_jax.inference.geometry import Piece
from pspnet_jax.inference.programs import RecentPrograms
from pspnet_jax.inference.views import Region, make_views, rounded, tiles
from pspnet_jax.models.network import Arrays, Network
from pspnet_jax.ops.images import normalize
from pspnet_jax.runtime import compiler_options, parallel

_CANVAS_STEP = 128  # canvases are rounded up to multiples of this: few shapes for many image sizes

Weights = tuple[Arrays, Arrays]  # folded, and on every device of this process
Finish = Callable[['_Tile'], jax.Array]


@dataclasses.dataclass
class _Tile:
  """A part of an image, all of it as a rule: scores of all views are summed here."""

  tag: Any
  image_size: tuple[int, int]
  region: Region  # of the image
  windows_left: collections.deque[int]  # of each view
  scores: jax.Array  # float32 [H, W, C], rounded up beyond the region
  of_view: jax.Array | None = None  # the same of one view, where its softmax is to be taken


class _Window(NamedTuple):
  """A piece of a view on its way through the network."""

  tile: _Tile
  pixels: np.ndarray  # uint8 or float32 [h, w, 3]
  pieces: tuple[Piece, Piece]  # where its scores go


class _Programs(NamedTuple):
  """Functions of `jax.jit`."""

  run: Any
  join: Any
  resample: Any


class Inference:
  """Runs a network over images of any size, as the card's protocol says.

  The network is compiled once for each window shape, not for each image size. Windows of one shape
  are run together, whichever views and images they come from, and all devices of this process share
  them. Each window's scores are brought to the image's size by themselves and added to the image's
  canvas: averaging where windows overlap and resizing are linear (`geometry.Axis`), so no canvas is
  needed for a view. An image whose canvas would be larger than `canvas_mb` is done in tiles;
  windows across their borders are run for each.

  Args:
    network: the network.
    card: pixels' mean and std, crop size and the protocol.
    batch_size: windows run together; None: what suits the device.
    canvas_mb: megabytes of scores an image may take on the device.
  """

  def __init__(
    self,
    network: Network,
    card: Card,
    *,
    batch_size: int | None = None,
    canvas_mb: int = 1024,
  ):
    self.card = card
    self._network = network
    self._mesh = parallel.make_mesh(local=True)
    platform = self._mesh.devices.flat[0].platform
    if not batch_size:  # on a CPU, more windows at once take more memory and no less time
      batch_size = 1 if platform == 'cpu' else 8
    self._batch_size = -(-batch_size // self._mesh.size) * self._mesh.size
    self._batch_sizes: dict[tuple[int, ...], int] = {}  # of each window shape
    protocol, folded = card.protocol, network.folded()
    self._mirror = protocol.flip and protocol.flip_rule != 'image'
    self._views = len(protocol.scales) * (1 + (protocol.flip and not self._mirror))
    self._softmax_last = protocol.average == 'logits'
    self._of_view = self._softmax_last and self._views > 1  # needs a canvas of its own
    pixel = 4 * card.spec.num_classes * (2 if self._of_view else 1)
    self._canvas_pixels = canvas_mb * 2**20 // pixel
    sum_logits = self._mirror and protocol.flip_rule == 'logits'

    def make_programs() -> _Programs:
      @jax.jit(compiler_options=compiler_options.for_network(platform, train=False))
      def run(weights: Weights, image: jax.Array) -> jax.Array:
        # float32 [N, h, w, 3] -> float32 [N, h, w, C]
        image = normalize(image, card.mean, card.std)
        outputs, _ = folded.apply(*weights, image)
        logits = outputs['logits']
        return logits if self._softmax_last or sum_logits else jax.nn.softmax(logits)

      @jax.jit
      def join(scores: jax.Array, mirrored: jax.Array) -> jax.Array:
        both = scores + mirrored[:, :, ::-1]
        return jax.nn.softmax(both) if sum_logits else both / 2

      # A function of its own: JAX keeps one cache for all that jit makes of one.
      return _Programs(run, join, jax.jit(lambda *arguments: _resample(*arguments)))

    self._programs = RecentPrograms(make_programs)

  def prepare(self, params: Arrays, batch_stats: Arrays) -> Weights:
    """Folds the weights of the network and brings them to this process's devices, once."""
    folded = self._network.fold(params, batch_stats)
    return jax.device_put(folded, parallel.replicated(self._mesh))

  def labels(
    self, weights: Weights, images: Iterable[tuple[Any, np.ndarray]]
  ) -> Iterator[tuple[Any, jax.Array | np.ndarray]]:
    """Labels a stream of (tag, image uint8 [H, W, 3]).

    Args:
      weights: of `prepare`.
      images: the images, each with anything to know it by.

    Yields:
      (tag, label), in the order of the images. The label, uint8 and on the device as a rule, has
      one of few shapes, whatever the images': [:H, :W] of it is the image's.
    """
    return self._stream(weights, images, lambda tile: _argmax(tile.scores))

  def probabilities(
    self, weights: Weights, images: Iterable[tuple[Any, np.ndarray]]
  ) -> Iterator[tuple[Any, jax.Array | np.ndarray]]:
    """Like `labels`, but yields the probability of each class: float32 [H, W, C]."""

    def finish(tile: _Tile) -> jax.Array:
      if self._softmax_last and not self._of_view:
        return jax.nn.softmax(tile.scores)
      return tile.scores / self._views

    return self._stream(weights, images, finish)

  def _stream(
    self,
    weights: Weights,
    images: Iterable[tuple[Any, np.ndarray]],
    finish: Finish,
  ) -> Iterator[tuple[Any, jax.Array | np.ndarray]]:
    waiting: list[_Window] = []  # of one shape
    order: collections.deque[_Tile] = collections.deque()
    assembled: np.ndarray | None = None  # of an image in tiles

    def flush() -> None:
      if waiting:
        self._process(weights, waiting)
        waiting.clear()

    def finished() -> Iterator[tuple[Any, jax.Array | np.ndarray]]:
      nonlocal assembled
      while order and not order[0].windows_left:
        tile = order.popleft()
        result = finish(tile)
        rows, columns = tile.region
        sides = rows.stop - rows.start, columns.stop - columns.start
        if sides == tile.image_size:
          yield tile.tag, result
          continue
        if assembled is None:
          height, width = (rounded(side, _CANVAS_STEP) for side in tile.image_size)
          assembled = np.zeros((height, width, *result.shape[2:]), result.dtype)
        assembled[tile.region] = np.asarray(result)[: sides[0], : sides[1]]
        if (rows.stop, columns.stop) == tile.image_size:  # the last one
          yield tile.tag, assembled
          assembled = None

    for tag, image in images:
      for window in self._cut(tag, image, order):
        if waiting and waiting[0].pixels.shape != window.pixels.shape:
          flush()
        waiting.append(window)
        if len(waiting) == self._batch_size:
          flush()
          yield from finished()
    flush()
    yield from finished()

  def _cut(self, tag: Any, image: np.ndarray, order: collections.deque[_Tile]) -> Iterator[_Window]:
    """Windows of all views of an image; the tiles that wait for them join `order`."""
    height, width = image.shape[:2]
    views = list(make_views((height, width), self.card))
    piece = max(view.piece[0] for view in views), max(view.piece[1] for view in views)
    for region in tiles((height, width), piece, self._canvas_pixels):
      canvas = [
        rounded(max(part.stop - part.start, side), _CANVAS_STEP)
        for part, side in zip(region, piece, strict=True)
      ]
      placed = [view.place(region, canvas) for view in views]
      counts = collections.deque(len(rows) * len(columns) for rows, columns in placed)
      scores = jnp.zeros((*canvas, self.card.spec.num_classes), jnp.float32)
      tile = _Tile(tag, (height, width), region, counts, scores)
      order.append(tile)
      for view, (rows, columns) in zip(views, placed, strict=True):
        pixels = view.prepare(image, self.card)
        h, w = view.window
        for (y, row), (x, column) in itertools.product(rows, columns):
          yield _Window(tile, pixels[y : y + h, x : x + w], (row, column))

  def _process(self, weights: Weights, waiting: list[_Window]) -> None:
    """Runs windows of one shape and adds their scores to the canvases."""
    # One batch size a window shape, so that it compiles once; a few windows, all of a small image,
    # need not wait for as many as a batch may hold.
    shape = waiting[0].pixels.shape
    full = self._batch_sizes.get(shape, self._mesh.size)
    if shape not in self._batch_sizes or len(waiting) == self._batch_size:
      while full < len(waiting):
        full *= 2
      full = self._batch_sizes[shape] = min(full, self._batch_size)
    first = jax.local_devices()[0]
    run, join, resample = self._programs.of(shape)
    for begin in range(0, len(waiting), full):
      windows = waiting[begin : begin + full]
      pixels = [window.pixels for window in windows]
      pixels += [pixels[0]] * (full - len(pixels))
      batch = jax.device_put(np.stack(pixels, dtype=np.float32), parallel.split_batch(self._mesh))
      scores = run(weights, batch)  # [N, h, w, C]
      if self._mirror:
        scores = join(scores, run(weights, batch[:, :, ::-1]))
      if self._mesh.size > 1:
        scores = jax.device_put(scores, first)
      for i, window in enumerate(windows):
        row, column = window.pieces
        taps = row.index, row.weight, column.index, column.weight
        self._add(window, resample(scores, i, *taps))

  def _add(self, window: _Window, piece: jax.Array) -> None:
    tile, (row, column) = window.tile, window.pieces
    position = np.array([row.position, column.position], np.int32)
    if not self._of_view:
      tile.scores = _paste(tile.scores, piece, position)
    else:
      view = jnp.zeros_like(tile.scores) if tile.of_view is None else tile.of_view
      tile.of_view = _paste(view, piece, position)
    tile.windows_left[0] -= 1
    if not tile.windows_left[0]:
      tile.windows_left.popleft()
      if tile.of_view is not None:
        tile.scores, tile.of_view = _add_softmax(tile.scores, tile.of_view), None


def _resample(
  scores: jax.Array,
  i: int,
  row_index: jax.Array,
  row_weight: jax.Array,
  column_index: jax.Array,
  column_weight: jax.Array,
) -> jax.Array:
  """scores[i] [h, w, C] to [F, G, C] by the taps [F, K] of its rows and [G, K] of its columns."""
  x = jax.lax.dynamic_index_in_dim(scores, i, keepdims=False)
  taps = range(row_index.shape[1])
  x = sum(row_weight[:, k, None, None] * x[row_index[:, k]] for k in taps)
  taps = range(column_index.shape[1])
  return sum(column_weight[:, k, None] * x[:, column_index[:, k]] for k in taps)


@jax.jit(donate_argnums=0)
def _paste(canvas: jax.Array, piece: jax.Array, position: jax.Array) -> jax.Array:
  """Adds a piece [F, G, C] to a canvas [H, W, C] at (y, x)."""
  start = (*position, jnp.zeros((), position.dtype))  # of one type, under 64-bit JAX too
  old = jax.lax.dynamic_slice(canvas, start, piece.shape)
  return jax.lax.dynamic_update_slice(canvas, old + piece, start)


@jax.jit(donate_argnums=0)
def _add_softmax(total: jax.Array, logits: jax.Array) -> jax.Array:
  return total + jax.nn.softmax(logits)


@jax.jit
def _argmax(scores: jax.Array) -> jax.Array:
  return scores.argmax(-1).astype(jnp.uint8)  # as many classes as a label file holds
