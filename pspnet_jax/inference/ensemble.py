"""Several networks that label an image together: the mean of their probabilities."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

import jax
import numpy as np

from pspnet_jax.data.same_classes import difference, in_other_words
from pspnet_jax.errors import UserError
from pspnet_jax.inference.card import Card
from pspnet_jax.inference.engine import Inference, Weights
from pspnet_jax.inference.on_device import argmax, top
from pspnet_jax.inference.tiled import Size, Tile, cut, joined

_W = TypeVar('_W', contravariant=True)


class Labeller(Protocol[_W]):
  """What labels images with weights: an `Inference`, or an `Ensemble` of several."""

  def labels(
    self, weights: _W, images: Iterable[tuple[Any, np.ndarray]]
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
    self, weights: Sequence[Weights], images: Iterable[tuple[Any, np.ndarray]]
  ) -> Iterator[tuple[Any, jax.Array | np.ndarray]]:
    """Labels a stream of (tag, image), with the weights of each member; see `Inference.labels`."""
    if len(self.members) == 1:
      return self.members[0].labels(weights[0], images)
    return joined((tile, argmax(mean)) for tile, mean in self._means(weights, images))

  def labels_and_confidence(
    self, weights: Sequence[Weights], images: Iterable[tuple[Any, np.ndarray]]
  ) -> Iterator[tuple[Any, jax.Array | np.ndarray]]:
    """Like `labels`, but yields the class and its mean probability: float32 [H, W, 2]."""
    if len(self.members) == 1:
      return self.members[0].labels_and_confidence(weights[0], images)
    return joined((tile, top(mean, 1, logits=False)) for tile, mean in self._means(weights, images))

  def probabilities(
    self, weights: Sequence[Weights], images: Iterable[tuple[Any, np.ndarray]]
  ) -> Iterator[tuple[Any, jax.Array | np.ndarray]]:
    """Like `labels`, but yields the mean probability of each class: float32 [H, W, C]."""
    if len(self.members) == 1:
      return self.members[0].probabilities(weights[0], images)
    return joined(self._means(weights, images))

  def _means(
    self, weights: Sequence[Weights], images: Iterable[tuple[Any, np.ndarray]]
  ) -> Iterator[tuple[Tile, jax.Array]]:
    for group in self._groups(cut(images, self._piece, self._most)):
      sums: list[jax.Array] = []  # one a tile
      for member, of_member in zip(self.members, weights, strict=True):
        for i, (tile, found) in enumerate(member.tile_probabilities(of_member, group)):
          if i == len(sums):
            sums.append(_corner(found, tile.canvas()))
          else:
            sums[i] = _add(sums[i], found)
      for tile in group:
        yield tile, _divided(sums.pop(0), len(self.members))

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


@functools.partial(jax.jit, donate_argnums=0)
def _add(total: jax.Array, scores: jax.Array) -> jax.Array:
  return total + scores[: total.shape[0], : total.shape[1]]


@functools.partial(jax.jit, donate_argnums=0)
def _divided(total: jax.Array, count: int) -> jax.Array:
  return total / count
