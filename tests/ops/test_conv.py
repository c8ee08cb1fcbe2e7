"""Convolutions and their gradients are torch's."""

import jax
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from pspnet_jax.ops.conv import conv
from tests.ops.arrays import draw, error
from tests.torch_pspnet import nchw, nhwc


@pytest.mark.parametrize(
  ('kernel_size', 'stride', 'dilation'),
  [
    (1, 1, 1),
    (1, 2, 1),
    (3, 1, 1),
    (3, 2, 1),
    (3, 1, 2),
    (3, 2, 2),
    (3, 1, 4),
    (3, 2, 4),
    (7, 2, 1),
  ],
)
@pytest.mark.parametrize('size', [(8, 10), (9, 7), (1, 2)])
def test_conv_matches_torch(kernel_size, stride, dilation, size, x64):
  x, kernel = draw(2, *size, 3), draw(kernel_size, kernel_size, 3, 4, seed=1)
  theirs = F.conv2d(
    nchw(x),
    torch.tensor(kernel.transpose(3, 2, 0, 1)),
    stride=stride,
    dilation=dilation,
    padding=dilation * (kernel_size // 2),
  )
  ours = jax.jit(lambda x, k: conv(x, k, stride=stride, dilation=dilation))(x, kernel)
  assert ours.shape[1:3] == tuple(-(-s // stride) for s in size)
  assert error(ours, nhwc(theirs)) < 1e-14


def test_pointwise_gradients_match_torch(x64):
  for ins, outs in ((3, 5), (5, 3)):
    x, kernel, cotangent = draw(2, 4, 6, ins), draw(1, 1, ins, outs), draw(2, 4, 6, outs, seed=2)
    leaves = nchw(x).requires_grad_(), torch.tensor(kernel.transpose(3, 2, 0, 1)).requires_grad_()
    F.conv2d(*leaves).backward(nchw(cotangent))
    gradients = jax.vjp(conv, x, kernel)[1](cotangent)
    assert error(gradients[0], nhwc(leaves[0].grad)) < 1e-14
    assert error(gradients[1], leaves[1].grad.numpy().transpose(2, 3, 1, 0)) < 1e-14


def test_a_dilation_that_the_stride_divides_reads_only_what_it_needs():
  x, kernel = (
    jax.ShapeDtypeStruct((1, 9, 8, 4), 'float32'),
    jax.ShapeDtypeStruct((3, 3, 4, 4), 'float32'),
  )
  program = str(jax.make_jaxpr(lambda x, k: conv(x, k, stride=2, dilation=2))(x, kernel))
  assert 'window_strides=(1, 1)' in program and 'rhs_dilation=(1, 1)' in program
