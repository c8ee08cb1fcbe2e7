"""Floating-point operations of the network as published, however a program gets to its result."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from pspnet_jax.models.network import Network


def flops(network: Network, images: int, size: tuple[int, int], *, train: bool) -> int:
  """Counts the FLOPs of the products in inference, or in a step: gradients have two for each.

  The head's 3×3 convolution counts as published, over features and upsampled levels together.
  Resizing does not count.
  """
  image = jax.ShapeDtypeStruct((images, *size, 3), jnp.float32)
  key = jax.random.key(0) if train else None

  def run(params: Any, batch_stats: Any, image: jax.Array) -> Any:
    return network.apply(params, batch_stats, image, train=train, key=key, upsample=False)

  shapes = network.param_shapes, network.batch_stat_shapes, image
  forward = of_products(run, *shapes, platform='cuda')
  _, height, width, _ = jax.eval_shape(run, *shapes)[0]['logits'].shape
  split = [x for name, x in network.param_shapes.items() if '/level_kernels/' in name]
  forward += sum(2 * images * height * width * math.prod(kernel.shape) for kernel in split)
  return forward * (3 if train else 1)


def of_products(function: Callable[..., Any], *arguments: Any, platform: str) -> int:
  """Counts the FLOPs of the convolutions and matrix products that a function is traced to.

  `platform` is the one that the function would be compiled for. What the platform's compiler makes
  of them is another matter.
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
  platform = 'cuda' if platform == 'gpu' else platform  # as JAX calls its devices
  branches = zip(platforms, equation.params['branches'], strict=True)
  return next(branch for names, branch in branches if names is None or platform in names)
