"""The work that is compared, and its input.

The peer is `tests.torch_pspnet`, whose outputs and gradients the tests compare with ours: the
arithmetic of hszhao/semseg, written in plain PyTorch. Both are given their input on the device, and
the step of both is the recipe's: both losses, all gradients, momentum SGD with weight decay. Ours
also normalises the pixels and keeps its running figures, as in training.
"""

from __future__ import annotations

import dataclasses

import numpy as np

PEERS = ('eager', 'channels_last', 'compile', 'compile, channels_last')


@dataclasses.dataclass(frozen=True)
class Case:
  """One piece of work."""

  train: bool
  depth: int
  size: int
  batch: int
  dtype: str  # of the computation
  num_classes: int = 150

  def __str__(self) -> str:
    kind = 'training step' if self.train else 'inference'
    return f'{kind}, PSPNet-{self.depth}, {self.size}², batch {self.batch}, {self.dtype}'


def pixels(case: Case) -> tuple[np.ndarray, np.ndarray]:
  """Image uint8 [N, H, W, 3] and label uint8 [N, H, W]."""
  rng, shape = np.random.default_rng(0), (case.batch, case.size, case.size)
  image = rng.integers(0, 256, (*shape, 3), np.uint8)
  return image, rng.integers(0, case.num_classes, shape, np.uint8)
