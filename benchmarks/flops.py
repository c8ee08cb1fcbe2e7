"""Floating-point operations of the products: a multiplication and an addition are two."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.torch_pspnet import TorchPSPNet


def useful(size: int, batch: int, *, train: bool, num_classes: int, depth: int) -> int:
  """Counts, with torch, the FLOPs of the published network, which concatenates the pyramid."""
  with torch.device('meta'):
    model = TorchPSPNet(num_classes, depth=depth, aux_head=train).train(train)
    image = torch.empty(batch, 3, size, size)
  with FlopCounterMode(display=False) as counter:
    outputs = model(image)
    if train:
      sum(x.sum() for x in outputs.values()).backward()
  return counter.get_total_flops()
