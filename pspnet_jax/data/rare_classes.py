"""Rare class sampling: images of rare classes more often (DAFormer, Hoyer et al., CVPR 2022).

An image is drawn in two steps: a class with the probability

    P(c) = exp((1 - f_c) / T) / sum over c' of exp((1 - f_c') / T)

where f_c is its share of all labelled training pixels, then any image that shows it. A small
temperature T draws almost only the rarest class, a large one all classes alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pspnet_jax.data.in_order import in_order
from pspnet_jax.data.spec import Source
from pspnet_jax.errors import UserError


class RareClasses:
  """Draws indices of examples; a function of the random numbers it is given.

  Args:
    class_pixels: integers [N, C], how many pixels of each class each example has.
    temperature: T; DAFormer's is 0.01.
    min_pixels: an image counts as one of a class from so many pixels on (DAFormer: 3000); for a
      class of which no image has as many, from one on.

  Attributes:
    probabilities: float64 [C], of the classes; 0 for those that never occur.

  Raises:
    UserError: if no example has a labelled pixel.
  """

  def __init__(self, class_pixels: np.ndarray, temperature: float, min_pixels: int):
    pixels = class_pixels.sum(0)  # [C]
    if not pixels.any():
      raise UserError('no training label has a labelled pixel: rare classes cannot be sampled.')
    logits = (1 - pixels / pixels.sum()) / temperature
    scores = np.where(pixels > 0, np.exp(logits - logits[pixels > 0].max()), 0)
    self.probabilities = scores / scores.sum()
    self._edges = np.cumsum(self.probabilities)
    self._images = []  # of each class
    for own in class_pixels.T:
      enough = np.flatnonzero(own >= max(min_pixels, 1))
      self._images.append(enough if enough.size else np.flatnonzero(own))

  def __call__(self, rng: np.random.Generator) -> int:
    """The index of an example; takes two random numbers."""
    which, where = rng.random(2)
    # Within the last step of the cumulated sum, whatever rounding made of its end.
    i = np.searchsorted(self._edges, which * self._edges[-1], side='right')
    images = self._images[min(int(i), int(np.flatnonzero(self.probabilities)[-1]))]
    return int(images[int(where * len(images))])


def count_class_pixels(
  source: Source, indices: Sequence[int], *, threads: int | None = None, skip_bad: bool = False
) -> Iterator[np.ndarray]:
  """How many pixels of each class these examples have: int64 [C] for each, in order.

  Args:
    source: what to read; by its method `label`, if it has one.
    indices: of the examples.
    threads: that read; see `in_order`.
    skip_bad: count nothing in examples that cannot be used, so that they are never drawn.

  Raises:
    UserError: what the source raises, without `skip_bad`.
  """
  read = getattr(source, 'label', lambda index: source[index]['label'])

  def count(index: int) -> np.ndarray:
    try:
      label = read(index)
    except UserError:
      if not skip_bad:
        raise
      return np.zeros(source.spec.num_classes, np.int64)
    return np.bincount(label.ravel(), minlength=256)[: source.spec.num_classes]

  return in_order(count, indices, threads=threads)
