"""The evaluation of hszhao/semseg's tool/test.py in PyTorch: the peer of `benchmarks.evaluation`.

Windows go through the network one at a time with their mirror image, probabilities come back to the
host and are summed there in float64, and OpenCV resizes them to the image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import nn


class Evaluation:
  """Labels an image.

  Args:
    model: takes pixels [N, 3, H, W] to {'logits': [N, C, H, W]}.
    crop: side of the windows.
    base_size: of the image's long side.
    scales: of the base size.
    mean, std: of the pixels.
    memory_format: of the network's input.
  """

  def __init__(
    self,
    model: nn.Module,
    *,
    crop: int,
    base_size: int,
    scales: Sequence[float],
    mean: Sequence[float],
    std: Sequence[float],
    memory_format: torch.memory_format = torch.contiguous_format,
  ):
    self._model, self._crop, self._base, self._scales = model, crop, base_size, scales
    self._device = next(model.parameters()).device
    self._mean, self._pixel = list(mean), (torch.tensor(mean), torch.tensor(std))
    self._memory_format = memory_format

  def __call__(self, image: np.ndarray) -> np.ndarray:
    """Class ids [H, W] of uint8 [H, W, 3]."""
    height, width = image.shape[:2]
    total: np.ndarray | float = 0.0
    for scale in self._scales:
      long = round(scale * self._base)
      if height > width:
        new = long, round(long / height * width)
      else:
        new = round(long / width * height), long
      scaled = cv2.resize(image.astype(np.float32), new[::-1], interpolation=cv2.INTER_LINEAR)
      scores = self._windows(scaled)
      total = total + cv2.resize(scores, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(total).argmax(-1)

  def _windows(self, image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    down, right = max(self._crop - height, 0), max(self._crop - width, 0)
    top, left = down // 2, right // 2
    sides = (top, down - top, left, right - left)
    image = cv2.copyMakeBorder(image, *sides, cv2.BORDER_CONSTANT, value=self._mean)
    scores, count = None, np.zeros((*image.shape[:2], 1))
    for y in self._ends(image.shape[0]):
      for x in self._ends(image.shape[1]):
        where = np.s_[y - self._crop : y, x - self._crop : x]
        found = self._network(image[where])
        if scores is None:
          scores = np.zeros((*image.shape[:2], found.shape[-1]))
        scores[where] += found
        count[where] += 1
    return (scores / count)[top : top + height, left : left + width]

  def _ends(self, size: int) -> list[int]:
    stride = math.ceil(self._crop * 2 / 3)
    count = math.ceil((size - self._crop) / stride) + 1
    return [min(i * stride + self._crop, size) for i in range(count)]

  def _network(self, window: np.ndarray) -> np.ndarray:
    mean, std = self._pixel
    x = ((torch.from_numpy(window) - mean) / std).permute(2, 0, 1)
    both = (
      torch.stack([x, x.flip(2)]).to(self._device).contiguous(memory_format=self._memory_format)
    )
    with torch.inference_mode():
      scores = torch.softmax(self._model(both)['logits'], 1)
    scores = (scores[0] + scores[1].flip(2)) / 2
    return scores.permute(1, 2, 0).cpu().numpy()
