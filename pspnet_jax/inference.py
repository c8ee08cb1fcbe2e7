"""From images of any size to labels: windows through the network, summed on the device."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pspnet_jax import ops, parallel
from pspnet_jax.card import Card
from pspnet_jax.models.network import Arrays, Network

_CANVAS_STEP = 128  # canvases are rounded up to multiples of this: few shapes for many image sizes


def window_starts(size: int, window: int, stride: float) -> list[int]:
  """Where windows begin along an axis: every `stride` of a window, the last one flush with the end.

  semseg's rule (tool/test.py): stride ceil(window * stride), as few windows as cover the axis.
  """
  step = int(np.ceil(window * stride))
  count = int(np.ceil(max(size - window, 0) / step)) + 1
  return [min(i * step, max(size - window, 0)) for i in range(count)]


@dataclasses.dataclass
class _Canvas:
  """An image on its way: scores are summed here until all its windows have come back."""

  tag: Any
  size: tuple[int, int]  # of the image
  offset: tuple[int, int]  # of the image in the canvas
  windows_left: int
  scores: jax.Array | None = None  # float32 [H, W, C]


class _Window(NamedTuple):
  """A piece of an image on its canvas."""

  canvas: _Canvas
  position: tuple[int, int]  # of its upper left corner on the canvas
  pixels: np.ndarray  # uint8 [h, w, 3]


class Inference:
  """Runs a network over images of any size.

  The network is compiled once for each window shape (and batch size, of which there are few), not
  for each image size. Images larger than the window are covered by overlapping windows whose
  softmaxes are averaged; smaller ones are padded with the mean, centred, as in training. All
  devices of this process share the windows of a batch.

  Args:
    network: the network.
    card: pixels' mean and std, and the protocol.
    batch_size: windows run together.
  """

  def __init__(self, network: Network, card: Card, *, batch_size: int = 8):
    self._card = card
    self._mesh = parallel.make_mesh(local=True)
    self._batch_size = -(-batch_size // self._mesh.size) * self._mesh.size
    flip = card.protocol.flip

    def softmax(params: Arrays, batch_stats: Arrays, image: jax.Array) -> jax.Array:
      image = ops.normalize(image, card.mean, card.std)
      outputs, _ = network.apply(params, batch_stats, image)
      return jax.nn.softmax(outputs['logits'])

    @jax.jit
    def run(params: Arrays, batch_stats: Arrays, image: jax.Array) -> jax.Array:
      # uint8 [N, h, w, 3] -> float32 [N, h, w, C]
      scores = softmax(params, batch_stats, image)
      if flip:
        scores = (scores + softmax(params, batch_stats, image[:, :, ::-1])[:, :, ::-1]) / 2
      return scores

    self._run = run

  def labels(
    self, params: Arrays, batch_stats: Arrays, images: Iterable[tuple[Any, np.ndarray]]
  ) -> Iterator[tuple[Any, jax.Array, tuple[slice, slice]]]:
    """Labels a stream of (tag, image uint8 [H, W, 3]).

    Yields:
      (tag, label int32 on the device, where the image lies in it), in the order of the images. The
      label's shape is one of few, whatever the images'; index it with the slices for the image's.
    """
    on_mesh = parallel.replicated(self._mesh)
    params, batch_stats = jax.device_put((params, batch_stats), on_mesh)
    waiting: list[_Window] = []  # of one shape
    order: collections.deque[_Canvas] = collections.deque()

    def flush() -> None:
      if waiting:
        self._process(params, batch_stats, waiting)
        waiting.clear()

    def finished() -> Iterator[tuple[Any, jax.Array, tuple[slice, slice]]]:
      while order and not order[0].windows_left:
        canvas = order.popleft()
        (top, left), (height, width) = canvas.offset, canvas.size
        where = (slice(top, top + height), slice(left, left + width))
        yield canvas.tag, _argmax(canvas.scores), where

    for tag, image in images:
      windows = self._cut(tag, image)
      order.append(windows[0].canvas)
      for window in windows:
        if waiting and waiting[0].pixels.shape != window.pixels.shape:
          flush()
        waiting.append(window)
        if len(waiting) == self._batch_size:
          flush()
      yield from finished()
    flush()
    yield from finished()

  def _cut(self, tag: Any, image: np.ndarray) -> list[_Window]:
    height, width = image.shape[:2]
    protocol = self._card.protocol
    window = protocol.window or (height, width)
    inner = (max(height, window[0]), max(width, window[1]))  # what windows cover
    offset = ((inner[0] - height) // 2, (inner[1] - width) // 2)
    if inner != (height, width):
      padded = np.empty((*inner, 3), np.uint8)
      padded[:] = np.round(self._card.mean)
      padded[offset[0] : offset[0] + height, offset[1] : offset[1] + width] = image
      image = padded
    positions = [
      (y, x)
      for y in window_starts(inner[0], window[0], protocol.stride)
      for x in window_starts(inner[1], window[1], protocol.stride)
    ]
    canvas = _Canvas(tag, (height, width), offset, len(positions))
    if len(positions) > 1:  # a single window is its own canvas
      shape = [-(-side // _CANVAS_STEP) * _CANVAS_STEP for side in inner]
      num_classes = self._card.spec.num_classes
      canvas.scores = jnp.zeros((*shape, num_classes), jnp.float32)
    return [
      _Window(canvas, (y, x), image[y : y + window[0], x : x + window[1]]) for y, x in positions
    ]

  def _process(self, params: Arrays, batch_stats: Arrays, waiting: list[_Window]) -> None:
    """Runs a batch of windows of one shape and adds the results to their canvases."""
    windows = [window.pixels for window in waiting]
    # A last, smaller batch is filled up to a power of two a device: few batch sizes to compile.
    full = self._mesh.size
    while full < len(windows):
      full *= 2
    full = min(full, self._batch_size)
    windows += [windows[0]] * (full - len(windows))
    batch = jax.device_put(np.stack(windows), parallel.split_batch(self._mesh))
    scores = self._run(params, batch_stats, batch)  # [N, h, w, C]
    first = jax.local_devices()[0]
    if self._mesh.size > 1:
      scores = jax.device_put(scores, first)
    for i, (canvas, position, _) in enumerate(waiting):
      if canvas.scores is None:
        canvas.scores = scores[i]
      else:
        canvas.scores = _paste(canvas.scores, scores, i, np.array(position, np.int32))
      canvas.windows_left -= 1


@jax.jit(donate_argnums=0)
def _paste(canvas: jax.Array, scores: jax.Array, index: int, position: jax.Array) -> jax.Array:
  """Adds scores[index] [h, w, C] to canvas [H, W, C] at (y, x)."""
  window = jax.lax.dynamic_index_in_dim(scores, index, keepdims=False)
  start = (position[0], position[1], 0)
  old = jax.lax.dynamic_slice(canvas, start, window.shape)
  return jax.lax.dynamic_update_slice(canvas, old + window, start)


@jax.jit
def _argmax(scores: jax.Array) -> jax.Array:
  """The class of the largest sum: windows count alike at a pixel, so their number cancels."""
  return scores.argmax(-1).astype(jnp.int32)
