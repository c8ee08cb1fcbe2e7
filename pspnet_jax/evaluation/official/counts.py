"""Pixel counts that a benchmark's figures are computed from, by the ids in its files."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Counts:
  """Sums over images; `+` adds them.

  Attributes:
    pixels: int64 [ids, ids]; rows are labels, columns predictions. Void labels are not counted.
    instances: Cityscapes: float64 [3, ids], see `cityscapes.count_instances`; None without.
  """

  pixels: np.ndarray
  instances: np.ndarray | None = None

  def __add__(self, other: Counts) -> Counts:
    instances = None
    if self.instances is not None and other.instances is not None:
      instances = self.instances + other.instances
    return Counts(self.pixels + other.pixels, instances)


def count_pixels(label: np.ndarray, prediction: np.ndarray, num_ids: int) -> np.ndarray:
  """Counts pixels by label and prediction.

  Args:
    label: uint8 [H, W]; pixels of `num_ids` and above are left out.
    prediction: uint8 [H, W], below `num_ids`.
    num_ids: how many ids there are, at most 256.

  Returns:
    int64 [num_ids, num_ids], rows are labels.
  """
  pair = label.astype(np.uint16) * np.uint16(num_ids) + prediction
  if label.max(initial=0) >= num_ids:
    pair = pair[label < num_ids]
  return np.bincount(pair.reshape(-1), minlength=num_ids**2).reshape(num_ids, num_ids)
