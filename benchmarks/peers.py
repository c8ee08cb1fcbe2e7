"""PyTorch's side of a case."""

from __future__ import annotations

import contextlib

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

from benchmarks.timing import Program
from benchmarks.work import Case, pixels
from tests.torch_pspnet import TorchPSPNet


def program(case: Case, name: str) -> Program:
  """PyTorch's side, in one of the ways `work.PEERS` names.

  bfloat16 is automatic mixed precision in training and weights cast once in inference, its fastest.
  """
  device = 'cuda' if torch.cuda.is_available() else 'cpu'
  if device == 'cuda':
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = True  # as JAX's default
  memory = torch.channels_last if 'channels_last' in name else torch.contiguous_format
  model = TorchPSPNet(case.num_classes, depth=case.depth, aux_head=case.train)
  model = model.to(device, memory_format=memory).train(case.train)
  image, label = pixels(case)
  scaled = torch.from_numpy(image.astype(np.float32) / 64 - 2).permute(0, 3, 1, 2)
  x = scaled.contiguous().to(device, memory_format=memory)
  y = torch.from_numpy(label.astype(np.int64)).to(device)
  half = case.dtype == 'bfloat16'
  mixed = torch.autocast(device, torch.bfloat16, enabled=half)
  if half and not case.train:
    model, x = model.bfloat16(), x.bfloat16()
  forward = torch.compile(model) if 'compile' in name else model
  groups = [
    {'params': [p for n, p in model.named_parameters() if n.startswith('layer')], 'lr': 0.01},
    {'params': [p for n, p in model.named_parameters() if not n.startswith('layer')], 'lr': 0.1},
  ]
  optimizer = torch.optim.SGD(groups, momentum=0.9, weight_decay=1e-4)

  def train() -> None:
    optimizer.zero_grad()
    with mixed:
      losses = [F.cross_entropy(o, y, ignore_index=255) for o in forward(x).values()]
      loss = losses[0] + 0.4 * losses[1]
    loss.backward()
    optimizer.step()

  def infer() -> None:
    with torch.inference_mode():
      forward(x)['logits']

  wait = torch.cuda.synchronize if device == 'cuda' else contextlib.nullcontext
  return Program(train if case.train else infer, wait)
