"""Several networks that label an image together: the mean of their probabilities."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from pspnet_jax.data.same_classes import difference, in_other_words
from pspnet_jax.errors import UserError
from pspnet_jax.inference.card import Card
from pspnet_jax.inference.engine import Inference, OnScores, Weights
from pspnet_jax.inference.on_device import Sums, argmax, top
from pspnet_jax.inference.tiled import Size, Tile, cut, cut_out, joined, with_sizes

_W = TypeVar('_W', contravariant=True)


class Prediction(NamedTuple):
  """What networks say of an image."""

  label: np.ndarray  # uint8 [H, W]
  confidence: np.ndarray  # float32 [H, W], the probability of that class
  probabilities: np.ndarray | None  # float32 [H, W, C], if asked for
  members: tuple[np.ndarray, ...]  # the label of each, if asked for


class Labeller(Protocol[_W]):
  """What labels images with weights: an `Inference`, or an `Ensemble` of several."""

  def labels(
    self,
    weights: _W,
    images: Iterable[tuple[Any, np.ndarray]],
    on_scores: OnScores | None = None,
  ) -> Iterator[tuple[Any, jax.Array | np.ndarray]]: ...

  def probabilities(
    self, weights: _W, images: Iterable[tuple[Any, np.ndarray]]
  ) -> Iterator[tuple[Any, jax.Array | np.ndarray]]: ...


class Ensemble:
  """Labels images by the mean of the members' probabilities, as one `Inference` would by its own.

  Each member follows its own card: protocol, pixels and crop. One runs after the other over a few
  tiles, so that its batches are full, and what is held is one member's canvases and the sums of
  those tiles. All get the same tiles, small enough for each. An ensemble of one is that one.

  Args:
    members: at least one.
  """

  def __init__(self, members: Sequence[Inference]):
    self.members = tuple(members)
    self._most = min(member.canvas_pixels for member in self.members)

  def labels(
    self,
    weights: Sequence[Weights],
    images: Iterable[tuple[Any, np.ndarray]],
    on_scores: OnScores | None = None,
  ) -> Iterator[tuple[Any, jax.Array | np.ndarray]]:
    """Labels a stream of (tag, image), with the weights of each member; see `Inference.labels`."""
    if len(self.members) == 1:
      return self.members[0].labels(weights[0], images, on_scores)

    def results() -> Iterator[tuple[Tile, jax.Array]]:
      for tile, mean, _ in self._means(weights, images):
        if on_scores is not None:
          on_scores(tile, Sums(mean, views=1, logits=False))
        yield tile, argmax(mean)

    return joined(results())

  def predictions(
    self,
    weights: Sequence[Weights],
    images: Iterable[tuple[Any, np.ndarray]],
    *,
    probabilities: bool = False,
    members: bool = False,
  ) -> Iterator[tuple[Any, Prediction]]:
    """Like `labels`, but yields all there is to know of an image, of one pass and cut to its size.

    Args:
      weights, images: see `labels`.
      probabilities: whether to bring the probabilities of all classes from the device.
      members: whether to keep what each of several members says by itself.
    """
    of_members = len(self.members) if members and len(self.members) > 1 else 0
    images = with_sizes(images)
    if probabilities or len(self.members) > 1:
      found = joined(
        (tile, _planes(mean, own, probabilities))
        for tile, mean, own in self._means(weights, images, bool(of_members))
      )
    else:
      found = self.members[0].labels_and_confidence(weights[0], images)
    for tag, planes in cut_out(found):
      classes = planes[..., 1 : 2 + of_members].astype(np.uint8)
      label, *own = (np.ascontiguousarray(x) for x in np.moveaxis(classes, -1, 0))
      rest = planes[..., 2 + of_members :] if probabilities else None
      yield tag, Prediction(label, planes[..., 0].copy(), rest, tuple(own))

  def probabilities(
    self, weights: Sequence[Weights], images: Iterable[tuple[Any, np.ndarray]]
  ) -> Iterator[tuple[Any, jax.Array | np.ndarray]]:
    """Like `labels`, but yields the mean probability of each class: float32 [H, W, C]."""
    if len(self.members) == 1:
      return self.members[0].probabilities(weights[0], images)
    return joined((tile, mean) for tile, mean, _ in self._means(weights, images))

  def _means(
    self,
    weights: Sequence[Weights],
    images: Iterable[tuple[Any, np.ndarray]],
    members: bool = False,
  ) -> Iterator[tuple[Tile, jax.Array, list[jax.Array]]]:
    """Yields the mean of each tile and, with `members`, the labels of each."""
    for group in self._groups(cut(images, self._piece, self._most)):
      sums: list[jax.Array] = []  # one a tile
      own: list[list[jax.Array]] = [[] for _ in group]
      for member, of_member in zip(self.members, weights, strict=True):
        for i, (tile, found) in enumerate(member.tile_probabilities(of_member, group)):
          if i == len(sums):
            sums.append(_corner(found, tile.canvas()))
          else:
            sums[i] = _add(sums[i], found)
          if members:
            own[i].append(argmax(_corner(found, tile.canvas())))
      for tile, labels in zip(group, own, strict=True):
        yield tile, _divided(sums.pop(0), len(self.members)), labels

  def _groups(self, tiles: Iterable[Tile]) -> Iterator[list[Tile]]:
    """Tiles that are done together: a batch at most, and all their sums fit on one canvas."""
    most = max(member.batch_size for member in self.members)
    group: list[Tile] = []
    room = self._most
    for tile in tiles:
      height, width = tile.canvas()
      if group and height * width > room:
        yield group
        group, room = [], self._most
      group.append(tile)
      room -= height * width
      if len(group) == most:
        yield group
        group, room = [], self._most
    if group:
      yield group

  def _piece(self, size: Size) -> Size:
    heights, widths = zip(*(member.piece(size) for member in self.members), strict=True)
    return max(heights), max(widths)


def check_together(first: Card, other: Card, names: tuple[str, str]) -> str | None:
  """Refuses two networks, called `names`, that cannot label an image together.

  Returns:
    What the user should know of the names of their classes, in a sentence, if there is something.

  Raises:
    UserError: if they differ in their classes or in how images are held.
  """
  classes = first.spec.class_names, other.spec.class_names
  converted = first.source is not None or other.source is not None
  why = difference(*classes, other_words=converted)
  if why is None and first.exif != other.exif:
    why = f'images were held {first.exif} for the one and {other.exif} for the other (data.exif)'
  if why is not None:
    raise UserError(
      f'{names[0]} and {names[1]} cannot label an image together: {why}: name networks that were '
      'trained for the same classes and images.'
    )
  return in_other_words(*classes, names)


@functools.partial(jax.jit, static_argnums=1)
def _corner(scores: jax.Array, size: Size) -> jax.Array:
  """Cuts out what canvases of all members have, whatever their pieces."""
  return scores[: size[0], : size[1]]


@functools.partial(jax.jit, static_argnums=2)
def _planes(mean: jax.Array, own: list[jax.Array], probabilities: bool) -> jax.Array:
  """Puts all that is asked of a tile into one array, float32 [h, w, P], as `on_device.top` does."""
  labels = [x[..., None].astype(jnp.float32) for x in own]
  both = top(mean, 1, logits=False)
  return jnp.concatenate([both, *labels, *([mean] if probabilities else [])], -1)


@functools.partial(jax.jit, donate_argnums=0)
def _add(total: jax.Array, scores: jax.Array) -> jax.Array:
  return total + scores[: total.shape[0], : total.shape[1]]


@functools.partial(jax.jit, donate_argnums=0)
def _divided(total: jax.Array, count: int) -> jax.Array:
  return total / count
