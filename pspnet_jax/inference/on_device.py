"""What the device does with a batch of windows: the network, and their scores added to a canvas."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from pspnet_jax.data.spec import IGNORE_LABEL
from pspnet_jax.inference.card import Card
from pspnet_jax.models.network import Arrays, Network
from pspnet_jax.ops.conv import computed_once
from pspnet_jax.ops.images import EXACT, bilinear_taps, normalize, resize

Weights = tuple[Arrays, Arrays]  # folded, and on every device of this process


class Sums(NamedTuple):
  """Scores of all views of an image, or of a tile of it, as they were added up."""

  scores: jax.Array  # float32 [H, W, C]
  views: int  # how many probabilities were added
  logits: bool  # whether their softmax is still to be taken


class Windows(NamedTuple):
  """N windows as they are sent to the device."""

  pixels: np.ndarray | jax.Array  # uint8 [N, h, w, 3], float32 where there are fractions
  inside: np.ndarray | jax.Array  # int32 [N, 4]: top, bottom, left, right of what is image
  padding: np.ndarray | jax.Array  # float32 [N, 3], the pixel of the rest


class Pieces(NamedTuple):
  """Where the scores of n windows go, and how they are interpolated; see `geometry.Piece`."""

  window: np.ndarray | jax.Array  # int32 [n], which of the batch it is
  position: np.ndarray | jax.Array  # int32 [n, 2], of the piece [F, G] on the canvas
  row_index: np.ndarray | jax.Array  # int32 [n, F, K]
  row_weight: np.ndarray | jax.Array  # float32 [n, F, K]
  column_index: np.ndarray | jax.Array  # int32 [n, G, K]
  column_weight: np.ndarray | jax.Array  # float32 [n, G, K]


def logits_of(
  folded: Network,
  card: Card,
  *,
  mirror: bool,
  in_turn: bool,
  divided: Callable[[jax.Array], jax.Array] = lambda image: image,
) -> Callable[[Weights, Windows], jax.Array]:
  """Makes the function that runs the network on windows, and on their mirror images.

  It returns logits as the network has them before they are upsampled, float32 [N, M, h', w', C]: a
  sixtieth of those of all pixels, which nothing but `add_pieces` needs, a window at a time. M is 2
  if they are mirrored, the second one's columns still from right to left. If `in_turn`, the mirror
  images come after the windows: less is held at once, where two are no faster together. `divided`
  says which devices compute what of the images, [N, h, w, 3]; see `division`.
  """

  def run(weights: Weights, windows: Windows) -> jax.Array:
    def apply(image: jax.Array) -> jax.Array:
      return folded.apply(*weights, divided(image), upsample=False)[0]['logits']

    image = normalize(_padded(windows), card.mean, card.std)
    if not mirror:
      return apply(image)[:, None]
    mirrored = image[:, :, ::-1]
    if in_turn:
      return jnp.moveaxis(lax.map(apply, jnp.stack([image, mirrored])), 0, 1)
    logits = apply(jnp.stack([image, mirrored], 1).reshape(-1, *image.shape[1:]))
    return logits.reshape(-1, 2, *logits.shape[1:])

  return run


def _padded(windows: Windows) -> jax.Array:
  """Puts the padding around the image: float32 [N, h, w, 3]."""
  pixels = jnp.asarray(windows.pixels)
  _, height, width, _ = pixels.shape
  top, bottom, left, right = jnp.asarray(windows.inside).T[..., None]  # each [N, 1]
  y, x = jnp.arange(height, dtype=jnp.int32), jnp.arange(width, dtype=jnp.int32)
  rows, columns = (top <= y) & (y < bottom), (left <= x) & (x < right)
  inside = (rows[:, :, None] & columns[:, None])[..., None]  # [N, h, w, 1]
  return jnp.where(inside, pixels.astype(jnp.float32), windows.padding[:, None, None])


def add_pieces(
  card: Card, size: tuple[int, int], *, align_corners: bool
) -> Callable[[jax.Array, jax.Array, Pieces], jax.Array]:
  """Makes the function that adds windows of `size` to a canvas, one after the other.

  It takes the canvas [H, W, C], the logits of a batch as `logits_of` gives them, and the pieces;
  windows of other canvases may be in the batch. Nothing is held but one window's scores.
  """
  scores_by = scores_of(card)

  def upsampled(logits: jax.Array) -> jax.Array:
    return _upsampled(logits, size, align_corners)

  def add(canvas: jax.Array, logits: jax.Array, pieces: Pieces) -> jax.Array:
    def step(canvas: jax.Array, piece: Pieces) -> tuple[jax.Array, None]:
      of_window = lax.dynamic_index_in_dim(logits, piece.window, keepdims=False)
      scores = scores_by(of_window, upsampled)
      return paste(canvas, _resampled(computed_once(scores), piece), piece), None

    return lax.scan(step, canvas, jax.tree.map(jnp.asarray, pieces))[0]

  return add


def scores_of(card: Card) -> Callable[[jax.Array, Callable[[jax.Array], jax.Array]], jax.Array]:
  """Makes the function from a window's logits to its scores, what canvases add up.

  It takes [M, h', w', C], M being 2 with those of the mirror image, and what upsamples each of
  them, and gives [h, w, C]: rows of the window, or some of them, as that makes them.
  """
  protocol = card.protocol
  as_logits = protocol.average == 'logits'  # the softmax comes when all of a view are together
  sum_logits = protocol.flip_rule == 'logits'

  def scores(logits: jax.Array, upsampled: Callable[[jax.Array], jax.Array]) -> jax.Array:
    each = [upsampled(x) for x in logits]
    if len(each) == 1:
      return each[0] if as_logits else _softmax(each[0])
    first, second = each if as_logits or sum_logits else map(_softmax, each)
    both = first + second[:, ::-1]
    return _softmax(both) if sum_logits else both / 2

  return scores


# Each platform interpolates as it does best. A CPU reads rows that are not where they were. A GPU
# does, too, and computes them within whatever reads the result: the logits of all pixels, sixty
# times the network's, are nowhere written. A TPU reads few numbers at a time unless it multiplies.


def _upsampled(logits: jax.Array, size: tuple[int, int], align_corners: bool) -> jax.Array:
  """Resizes [h', w', C] to [*size, C], as the network would."""

  def by_taps(logits: jax.Array) -> jax.Array:
    (rows, row_weight), (columns, column_weight) = (
      bilinear_taps(*sides, align_corners) for sides in zip(logits.shape[:2], size, strict=True)
    )
    row_weight, column_weight = (x.astype(logits.dtype) for x in (row_weight, column_weight))
    return _by_taps(logits, rows, row_weight, columns, column_weight)

  def by_products(logits: jax.Array) -> jax.Array:
    return resize(logits[None], size, align_corners=align_corners)[0]

  return lax.platform_dependent(logits, cuda=by_taps, default=by_products)


def _softmax(logits: jax.Array) -> jax.Array:
  """Takes the softmax of [h, w, C]."""

  def in_two_passes(x: jax.Array) -> jax.Array:
    # XLA's own softmax on a GPU reads logits that were written; this one computes them three times.
    top = x.max(-1, keepdims=True)
    total = jnp.exp(x - top).sum(-1, keepdims=True)
    top, total = lax.optimization_barrier((top, total))
    return jnp.exp(x - top) / total

  def in_one(x: jax.Array) -> jax.Array:
    return computed_once(jax.nn.softmax(x))

  return lax.platform_dependent(logits, cuda=in_two_passes, default=in_one)


def _resampled(x: jax.Array, piece: Pieces) -> jax.Array:
  """Brings [h, w, C] to [F, G, C] by the taps of one piece."""
  return lax.platform_dependent(x, *piece[2:], tpu=_by_products, default=_by_taps)


def resampled_columns(x: jax.Array, piece: Pieces) -> jax.Array:
  """Brings [F, w, C] to [F, G, C] by the taps of one piece along the second axis."""

  def by_taps(x: jax.Array, index: jax.Array, weight: jax.Array) -> jax.Array:
    taps = range(index.shape[1])
    return functools.reduce(jnp.add, [weight[:, k, None] * x[:, index[:, k]] for k in taps])

  def by_products(x: jax.Array, index: jax.Array, weight: jax.Array) -> jax.Array:
    columns = (weight[..., None] * (index[..., None] == jnp.arange(x.shape[1]))).sum(1)
    return jnp.einsum('Gw,Fwc->FGc', columns, x, precision=EXACT)

  taps = jnp.asarray(piece.column_index), jnp.asarray(piece.column_weight)
  return lax.platform_dependent(x, *taps, tpu=by_products, default=by_taps)


def _by_taps(
  x: jax.Array,
  row_index: jax.Array | np.ndarray,
  row_weight: jax.Array | np.ndarray,
  column_index: jax.Array | np.ndarray,
  column_weight: jax.Array | np.ndarray,
) -> jax.Array:
  def sum_of(parts: Iterable[jax.Array]) -> jax.Array:
    return functools.reduce(jnp.add, parts)

  weight, taps = jnp.asarray(row_weight)[:, :, None, None], range(row_index.shape[1])
  x = sum_of(weight[:, k] * x[row_index[:, k]] for k in taps)
  weight, taps = jnp.asarray(column_weight)[:, :, None], range(column_index.shape[1])
  x = sum_of(weight[:, k] * x[:, column_index[:, k]] for k in taps)
  return computed_once(x)


def _by_products(
  x: jax.Array,
  row_index: jax.Array,
  row_weight: jax.Array,
  column_index: jax.Array,
  column_weight: jax.Array,
) -> jax.Array:
  rows, columns = (
    (weight[..., None] * (index[..., None] == jnp.arange(side))).sum(1)
    for index, weight, side in (
      (row_index, row_weight, x.shape[0]),
      (column_index, column_weight, x.shape[1]),
    )
  )
  x = jnp.einsum('Fh,hwc->Fwc', rows, x, precision=EXACT)
  return jnp.einsum('Gw,Fwc->FGc', columns, x, precision=EXACT)


def paste(canvas: jax.Array, scores: jax.Array, piece: Pieces) -> jax.Array:
  """Adds the scores of a piece [F, G, C] to a canvas [H, W, C]."""
  position = jnp.asarray(piece.position)
  start = (*position, jnp.zeros((), position.dtype))  # of one type, under 64-bit JAX too
  old = lax.dynamic_slice(canvas, start, scores.shape)
  return lax.dynamic_update_slice(canvas, old + scores, start)


@jax.jit(donate_argnums=0)
def add_softmax(total: jax.Array, logits: jax.Array) -> jax.Array:
  """Adds the probabilities of a view to a canvas, both [H, W, C]."""
  return total + jax.nn.softmax(logits)


def sum_losses(sums: Sums, label: np.ndarray) -> jax.Array:
  """Sums -log of the probability that each pixel's own class has: float32 scalar.

  Args:
    sums: the scores; a probability below float32's smallest normal number counts as that one.
    label: uint8 [H, W] or smaller; pixels beyond it are ignored, as `IGNORE_LABEL` is.
  """
  padded = np.full(sums.scores.shape[:2], IGNORE_LABEL, np.uint8)
  padded[: label.shape[0], : label.shape[1]] = label
  return _sum_losses(sums.scores, padded, sums.views, sums.logits)


@functools.partial(jax.jit, static_argnums=(2, 3))
def _sum_losses(scores: jax.Array, label: jax.Array, views: int, logits: bool) -> jax.Array:
  valid = label < scores.shape[-1]
  index = jnp.where(valid, label, 0).astype(jnp.int32)
  own = jnp.take_along_axis(scores, index[..., None], -1)[..., 0]  # [H, W]
  if logits:
    losses = jax.nn.logsumexp(scores, -1) - own
  else:
    losses = -jnp.log(jnp.maximum(own / views, jnp.finfo(jnp.float32).tiny))
  return jnp.where(valid, losses, 0).sum(1).sum()  # rows first: sums of millions lose digits


@jax.jit
def argmax(scores: jax.Array) -> jax.Array:
  """Returns the class of the highest score of each pixel, uint8 [h, w], of [h, w, C]."""
  return scores.argmax(-1).astype(jnp.uint8)  # as many classes as a label file holds


@functools.partial(jax.jit, static_argnames=('count', 'logits'))
def top(scores: jax.Array, count: int, *, logits: bool) -> jax.Array:
  """Returns the probability of the likeliest class of each pixel, and the class.

  Both lie in one array, float32 [h, w, 2], which counts exactly as far as there are classes: tiles
  of it are put together as those of any other result.

  Args:
    scores: float32 [h, w, C].
    count: how many probabilities the scores are sums of.
    logits: whether they are logits, of which the softmax is to be taken.
  """
  label, best = scores.argmax(-1), scores.max(-1)
  if logits:
    best = 1 / jnp.exp(scores - best[..., None]).sum(-1)
  return jnp.stack([best / count, label.astype(jnp.float32)], -1)
