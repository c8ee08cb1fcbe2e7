"""Keeps what an evaluation has counted so far in a file, so that it can be interrupted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pspnet_jax.runtime.kept_arrays import keep_arrays, kept_arrays


class PartialScores:
  """Counts of the first images of an evaluation, which are always the same ones.

  Args:
    path: the file. It is read if it is there, undamaged, and was written for the same `question`.
    question: everything the counts depend on, as JSON would have it.
    num_classes: C.

  Attributes:
    done: images counted, or left out as unusable, from the first on.
    left_out: which of them.
    confusion: int64 [C, C], rows are labels.
    image_iou: mean IoU of each image by its index, over the classes its label shows.
  """

  def __init__(self, path: Path, question: Mapping[str, Any], num_classes: int):
    self._path, self._question = path, {**question, 'num_classes': num_classes}
    self.done = 0
    self.left_out: set[int] = set()
    self.confusion = np.zeros((num_classes, num_classes), np.int64)
    self.image_iou: dict[int, float] = {}
    kept = kept_arrays(path, self._question)
    if kept is not None:
      self.done, self.left_out = int(kept['done']), set(kept['left_out'].tolist())
      self.confusion = kept['confusion']
      indices, values = kept['indices'].tolist(), kept['image_iou'].tolist()
      self.image_iou = dict(zip(indices, values, strict=True))

  def save(self) -> None:
    """Writes the file whole; UserError if that fails."""
    counts = {
      'done': np.array(self.done, np.int64),
      'left_out': np.array(sorted(self.left_out), np.int64),
      'confusion': self.confusion,
      'indices': np.array(list(self.image_iou), np.int64),
      'image_iou': np.array(list(self.image_iou.values()), np.float64),
    }
    keep_arrays(self._path, self._question, counts)

  def remove(self) -> None:
    """Removes the file, which an evaluation that is complete does not need."""
    self._path.unlink(missing_ok=True)

  def worst(self, count: int) -> list[int]:
    """Indices of the images with the lowest mean IoU, the worst first."""
    known = [index for index, iou in self.image_iou.items() if not np.isnan(iou)]
    return sorted(known, key=lambda index: self.image_iou[index])[:count]
