"""An exported program compared with the live network, on images, before it gets its name."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np

from pspnet_jax.errors import UserError
from pspnet_jax.exports.program import Run


@dataclasses.dataclass(frozen=True)
class Allowed:
  """How far a program may be off.

  Where no class is likely, as 1 of 150 at 1/150, no probability is far from another: so labels are
  judged by their share too, and ties by the highest probability of the pixel.

  Attributes:
    tolerance: of a probability.
    tie: a label is as good as another if it is less probable by this share of the highest at most.
    share: of the pixels, at least, that have the same label or one as good.
  """

  tolerance: float
  tie: float
  share: float


# The order of sums alone makes 1e-5 in float32.
FLOAT32 = Allowed(tolerance=1e-3, tie=1e-3, share=0.9999)
# Fused operations round networks in bfloat16 or float16 in fewer places. A random PSPNet-50
# of width 8 and 150 classes, at 65×97 on a CPU, gives 99.1 % of its float32 labels in bfloat16 and
# 99.9 % in float16; 0.14 % are off by more than the tie. Programs of one type are nearer to each
# other.
NARROW = Allowed(tolerance=0.1, tie=0.01, share=0.98)


@dataclasses.dataclass
class Comparison:
  """Differences from the live network, so far.

  Attributes:
    allowed: what `check` lets pass.
    images, pixels: how many were compared.
    equal: pixels that have the same label.
    as_good: those, and pixels whose label is a near tie.
    shortfall: how much less probable, to the live network, a label is than its own, at most.
    difference: between two probabilities, at most; None if the program puts none out.
  """

  allowed: Allowed = FLOAT32
  images: int = 0
  pixels: int = 0
  equal: int = 0
  as_good: int = 0
  shortfall: float = 0.0
  difference: float | None = None

  def add(self, live: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    """Takes in the outputs of a batch; those of the live network hold probabilities."""
    labels, scores = other['labels'], live['probabilities']
    self.images += len(labels)
    self.pixels += labels.size
    equal = labels == live['labels']
    self.equal += int(equal.sum())
    classes = scores.shape[-1]
    within = np.minimum(labels, classes - 1).astype(np.int64)
    chosen = np.where(
      labels < classes, np.take_along_axis(scores, within[..., None], -1)[..., 0], 0
    )
    highest = scores.max(-1)
    self.as_good += int((equal | (highest - chosen <= self.allowed.tie * highest)).sum())
    # np.maximum keeps NaN, which max() would lose.
    self.shortfall = float(np.maximum(self.shortfall, (highest - chosen).max()))
    if 'probabilities' in other:
      largest = np.abs(other['probabilities'] - scores).max()
      self.difference = float(np.maximum(self.difference or 0.0, largest))

  @property
  def share(self) -> float:
    """Share of the pixels that have the same label."""
    return self.equal / self.pixels

  def __str__(self) -> str:
    parts = [
      f'{100 * self.share:.4f} % of {self.pixels:,} labels are equal',
      f'the others lie within {self.shortfall:.1g} of the highest probability',
    ]
    if self.difference is not None:
      parts.append(f'probabilities differ by {self.difference:.1g} at most')
    return ', '.join(parts if self.equal < self.pixels else [parts[0], *parts[2:]])

  def check(self, what: str) -> None:
    """Raises UserError if it is another network: nothing of it may be handed over."""
    allowed = self.allowed
    worst = np.maximum(self.shortfall, self.difference or 0.0)
    as_good = self.as_good / self.pixels
    if not (worst <= allowed.tolerance and as_good >= allowed.share):  # nor is NaN
      raise UserError(
        f'{what} is not the network it was made of ({self}, {100 * as_good:.4f} % of the labels '
        f'are equal or near ties; allowed are {allowed.tolerance:g} and {100 * allowed.share:g} %),'
        " so it is not written: please report this with the network's card."
      )


def with_probabilities(labels: Run, twin: Run) -> Run:
  """Answers with the labels of one program and the probabilities of another.

  Args:
    labels: the program that is handed over.
    twin: the same program, which puts out probabilities too.
  """
  return lambda image: {**twin(image), **labels(image)}


def compare(
  live: Run, other: Run, images: Iterable[np.ndarray], allowed: Allowed = FLOAT32
) -> Comparison:
  """Runs both on each image, uint8 [H, W, 3]."""
  found = Comparison(allowed)
  for image in images:
    found.add(live(image[None]), other(image[None]))
  return found
