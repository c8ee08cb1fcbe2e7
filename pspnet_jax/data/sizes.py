"""Computes sizes of images for augmentation and evaluation alike."""

from __future__ import annotations

from collections.abc import Sequence


def fit_size(size: tuple[int, int], box: Sequence[int]) -> tuple[int, int]:
  """The largest size of the same shape within a box, long side to long side (mmcv's imrescale)."""
  factor = min(max(box) / max(size), min(box) / min(size))
  height, width = (max(1, int(side * factor + 0.5)) for side in size)
  return height, width
