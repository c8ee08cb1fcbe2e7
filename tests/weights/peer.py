"""A network to compare with: random weights, its files and its logits."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn


def near_statistics(x: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
  """Mean and variance near those of the channels of `x` [N, C, H, W]; none is 0 or 1.

  So activations neither fade nor explode, whatever the depth.
  """
  mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
  floor = 0.1 * x.square().mean()  # a level of one cell has no variance
  moved = mean + 0.1 * var.sqrt() * torch.randn(mean.shape, generator=generator)
  return moved, (var + floor) * (0.8 + 0.45 * torch.rand(var.shape, generator=generator))


# Weight of a residual branch beside what it is added to. With equal weights a random ResNet
# amplifies rounding so much that torch in float32 is 1e-4 off torch in float64.
BRANCH = 0.15


class Peer(nn.Module):
  """What the comparisons need of a network; `forward` takes a normalised NCHW image."""

  align_corners = False
  mean, std = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
  last_of_branch = r'layer\d\.\d+\.bn(\d)$'  # where no such module has the next number

  @property
  def classifier(self) -> nn.Conv2d:
    raise NotImplementedError

  def files(self) -> dict[str, Any]:
    """Names and contents of its files, as its training code saves them."""
    raise NotImplementedError

  def resized(self, x, like):
    size = like.shape[2:]
    return F.interpolate(x, size, mode='bilinear', align_corners=self.align_corners)

  def pyramid(self, levels, x):
    return torch.cat([x, *(self.resized(level(x), x) for level in levels)], 1)

  @torch.no_grad()
  def logits(self, image: np.ndarray, dtype: torch.dtype = torch.float32) -> np.ndarray:
    """[H, W, classes] of an RGB image uint8 [H, W, 3]; most take ImageNet's statistics off."""
    x = torch.tensor((image - self.mean) / self.std, dtype=dtype).permute(2, 0, 1)
    return self.eval().to(dtype)(x[None])[0].permute(1, 2, 0).numpy()

  def fill(self, image: np.ndarray, seed: int = 0) -> Peer:
    """Random weights with which every class wins somewhere."""
    generator = torch.Generator().manual_seed(seed)

    def normal(x):
      return torch.randn(x.shape, generator=generator)

    def settle(layer, inputs):
      layer.running_mean, layer.running_var = near_statistics(inputs[0], generator)
      layer.num_batches_tracked.fill_(7)

    hooks, modules = [], dict(self.named_modules())
    for name, layer in modules.items():
      if isinstance(layer, nn.Conv2d):
        layer.weight.data = normal(layer.weight) / layer.weight[0].numel() ** 0.5
        if layer.bias is not None:
          layer.bias.data = 0.2 * normal(layer.bias)
      elif isinstance(layer, nn.BatchNorm2d):
        number = re.search(self.last_of_branch, name)
        following = number and name[: number.start(1)] + str(int(number[1]) + 1)
        branch = number and following + name[number.end(1) :] not in modules
        scale = 0.4 + 0.8 * torch.rand(layer.weight.shape, generator=generator)
        layer.weight.data = scale * (BRANCH if branch else 1)
        layer.bias.data = 0.2 * normal(layer.bias)
        hooks.append(layer.register_forward_pre_hook(settle))
    mean = self.logits(image).mean((0, 1))
    for hook in hooks:
      hook.remove()
    self.classifier.bias.data -= torch.tensor(mean)
    return self

  def write(self, folder: Path) -> list[Path]:
    files = self.files()
    for name, content in files.items():
      torch.save(content, folder / name)
    return [folder / name for name in files]
