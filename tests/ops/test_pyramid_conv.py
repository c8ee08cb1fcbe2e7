"""The convolution of upsampled maps that are never made equals that of maps that are."""

import functools

import jax
import jax.numpy as jnp
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from pspnet_jax.ops.pyramid_conv import conv3x3_of_upsampled
from tests.ops.arrays import BINS, RULES, draw, error


def head_in_torch(grids, kernels, size, align_corners):
  """The way everyone does it: upsample, concatenate, convolve."""
  kwargs = {'size': size, 'mode': 'bilinear', 'align_corners': align_corners}
  x = torch.cat([F.interpolate(g.permute(0, 3, 1, 2), **kwargs) for g in grids], 1)
  kernel = torch.cat([k.permute(3, 2, 0, 1) for k in kernels], 1)
  return F.conv2d(x, kernel, padding=1).permute(0, 2, 3, 1)


@RULES
@pytest.mark.parametrize('size', [(60, 60), (33, 21), (7, 9), (5, 3), (2, 2), (1, 4), (1, 1)])
def test_conv3x3_of_upsampled_is_the_concatenated_convolution(size, align_corners, x64):
  channels = (2, 3, 4, 5)  # all different: a level in the wrong place would not fit
  grids = [draw(2, b, b, c, seed=b) for b, c in zip(BINS, channels, strict=True)]
  kernels = [draw(3, 3, c, 4, seed=9 + c) for c in channels]
  cotangent = draw(2, *size, 4)
  f = functools.partial(conv3x3_of_upsampled, size=size, align_corners=align_corners)
  ours = jax.jit(f)(grids, kernels)
  gradients = jax.jit(lambda *inputs: jax.vjp(f, *inputs)[1](cotangent))(grids, kernels)
  leaves = [[torch.tensor(a).requires_grad_() for a in arrays] for arrays in (grids, kernels)]
  theirs = head_in_torch(*leaves, size, align_corners)
  theirs.backward(torch.tensor(cotangent))
  assert error(ours, theirs.detach()) < 1e-13
  for gradient, tensor in zip(*map(jax.tree.leaves, (gradients, leaves)), strict=True):
    assert error(gradient, tensor.grad) < 1e-12


@RULES
def test_conv3x3_of_upsampled_bfloat16_accumulates_in_float32(align_corners):
  grids = [jnp.asarray(draw(2, b, b, 8, seed=b), jnp.bfloat16) for b in BINS]
  kernels = [jnp.asarray(draw(3, 3, 8, 4, seed=9 + b), jnp.bfloat16) for b in BINS]
  f = functools.partial(conv3x3_of_upsampled, size=(13, 9), align_corners=align_corners)
  f = jax.jit(f)
  ours = f(grids, kernels)
  widened = ([x.astype(jnp.float32) for x in arrays] for arrays in (grids, kernels))
  assert ours.dtype == jnp.float32
  # The inputs are bfloat16 already; nothing in between is rounded to it (that would cost 4e-3).
  assert error(ours, f(*widened)) < 1e-6


def test_pyramid_of_wrong_length_is_refused():
  with pytest.raises(ValueError, match='zip'):
    conv3x3_of_upsampled([jnp.ones((1, 1, 1, 2))], [], (4, 4), align_corners=True)
