"""An exported program compared with the live network, on images, before it gets its name."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np

from pspnet_jax.errors import UserError
from pspnet_jax.exports.program import Run

# How far a probability may be off: the order of sums alone makes 1e-5 in float32.
TOLERANCE = 1e-3
# The same of a network in bfloat16 or float16, which fused operations round in fewer places.
NARROW_TOLERANCE = 0.1


@dataclasses.dataclass
class Comparison:
  """Differences from the live network, so far.

  Attributes:
    images, pixels: how many were compared.
    equal: pixels that have the same label.
    shortfall: how much less probable, to the live network, a label is than its own, at most.
    difference: between two probabilities, at most; None if the program puts none out.
  """

  images: int = 0
  pixels: int = 0
  equal: int = 0
  shortfall: float = 0.0
  difference: float | None = None

  def add(self, live: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    """Takes in the outputs of a batch; those of the live network hold probabilities."""
    labels, scores = other['labels'], live['probabilities']
    self.images += len(labels)
    self.pixels += labels.size
    self.equal += int((labels == live['labels']).sum())
    classes = scores.shape[-1]
    within = np.minimum(labels, classes - 1).astype(np.int64)
    chosen = np.where(
      labels < classes, np.take_along_axis(scores, within[..., None], -1)[..., 0], 0
    )
    # np.maximum keeps NaN, which max() would lose.
    self.shortfall = float(np.maximum(self.shortfall, (scores.max(-1) - chosen).max()))
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

  def check(self, what: str, tolerance: float = TOLERANCE) -> None:
    """Raises UserError if it is another network: nothing of it may be handed over."""
    worst = np.maximum(self.shortfall, self.difference or 0.0)
    if not worst <= tolerance:  # nor is NaN
      raise UserError(
        f'{what} is not the network it was made of ({self}; allowed are {tolerance:g}), so it is '
        "not written: please report this with the network's card."
      )


def compare(live: Run, other: Run, images: Iterable[np.ndarray]) -> Comparison:
  """Runs both on each image, uint8 [H, W, 3]."""
  found = Comparison()
  for image in images:
    found.add(live(image[None]), other(image[None]))
  return found
