"""Floating-point operations of the products: a multiplication and an addition are two."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.torch_pspnet import TorchPSPNet


def executed(function: Callable[..., Any], *arguments: Any, platform: str) -> int:
  """Counts the FLOPs of the convolutions and matrix products in a JAX function's forward pass.

  `platform` is the one that the function would be compiled for.
  """
  return _count(jax.make_jaxpr(function)(*arguments).jaxpr, platform)


def _count(jaxpr: Any, platform: str) -> int:
  total = 0
  for equation in jaxpr.eqns:
    out = math.prod(equation.outvars[0].aval.shape) if equation.outvars else 0
    if equation.primitive.name == 'dot_general':
      (contracted, _), _ = equation.params['dimension_numbers']
      shape = equation.invars[0].aval.shape
      total += 2 * out * math.prod(shape[i] for i in contracted)
    elif equation.primitive.name == 'conv_general_dilated':
      spec = equation.params['dimension_numbers'].rhs_spec  # out, in, then the sides
      shape = equation.invars[1].aval.shape
      total += 2 * out * math.prod(shape[i] for i in spec[1:])
    for inner in jax.tree.leaves(_taken(equation, platform), is_leaf=lambda x: hasattr(x, 'eqns')):
      inner = getattr(inner, 'jaxpr', inner)
      total += _count(inner, platform) if hasattr(inner, 'eqns') else 0
  return total


def _taken(equation: Any, platform: str) -> Any:
  """Returns what an equation may run: of `lax.platform_dependent` only the platform's branch."""
  platforms = equation.params.get('branches_platforms')
  if platforms is None:
    return equation.params
  branches = zip(platforms, equation.params['branches'], strict=True)
  return next(branch for names, branch in branches if names is None or platform in names)


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
