import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from pspnet_jax.ops.conv import conv
from pspnet_jax.ops.images import normalize, resize
from pspnet_jax.ops.pool import adaptive_avg_pool, adaptive_max_pool, max_pool
from pspnet_jax.ops.pyramid_conv import conv3x3_of_upsampled
from tests.torch_pspnet import nchw, nhwc

RULES = pytest.mark.parametrize('align_corners', [True, False])
BINS = (1, 2, 3, 6)
# 60 and 90 divide by 6; 61 and 45 give overlapping cells; the others repeat cells.
FEATURES = [(60, 60), (61, 45), (90, 8), (7, 9), (5, 3), (1, 4), (1, 1)]
EPS = {np.float32: 1e-6, np.float64: 1e-14}


def draw(*shape, dtype=np.float64, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def error(ours, theirs) -> float:
  """Largest difference relative to the largest value."""
  ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
  assert ours.shape == theirs.shape
  return np.abs(ours - theirs).max() / max(np.abs(theirs).max(), 1e-30)


def precision(dtype):
  return jax.enable_x64(dtype is np.float64)


@RULES
@pytest.mark.parametrize('dtype', [np.float32, np.float64])
@pytest.mark.parametrize(
  ('size_in', 'size_out'),
  [
    ((7, 9), (49, 65)),  # 8 (n - 1) + 1: the published crops
    ((8, 6), (64, 48)),
    ((6, 6), (61, 45)),
    ((61, 45), (7, 10)),
    ((1, 1), (5, 3)),
    ((5, 3), (1, 1)),
    ((1, 4), (3, 1)),
    ((4, 6), (4, 13)),
    ((3, 2), (3, 2)),
  ],
)
def test_resize_matches_torch(size_in, size_out, align_corners, dtype):
  x = draw(2, *size_in, 3, dtype=dtype)
  with precision(dtype):
    ours = jax.jit(lambda x: resize(x, size_out, align_corners=align_corners))(x)
    assert ours.dtype == dtype
  kwargs = {'size': size_out, 'mode': 'bilinear', 'align_corners': align_corners}
  # torch rounds its sampling positions, up to 61 pixels, to the dtype: 4e-6 pixels in float32.
  assert error(ours, nhwc(F.interpolate(nchw(x), **kwargs))) < 8 * EPS[dtype]


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
@pytest.mark.parametrize('size', FEATURES)
@pytest.mark.parametrize('kind', ['avg', 'max'])
def test_adaptive_pooling_matches_torch(kind, size, dtype):
  x = draw(2, *size, 5, dtype=dtype)
  pool = {'avg': adaptive_avg_pool, 'max': adaptive_max_pool}[kind]
  theirs = {'avg': F.adaptive_avg_pool2d, 'max': F.adaptive_max_pool2d}[kind]
  with precision(dtype):
    levels = jax.jit(lambda x: pool(x, BINS))(x)
  exact = nchw(x.astype(np.float64))  # torch's own float32 sums are no closer to it than ours
  for b, level in zip(BINS, levels, strict=True):
    assert level.dtype == dtype and level.shape == (2, b, b, 5)
    assert error(level, nhwc(theirs(exact, b))) <= (EPS[dtype] if kind == 'avg' else 0)


@pytest.mark.parametrize('kind', ['avg', 'max'])
def test_adaptive_pooling_gradients_match_torch(kind, x64):
  x = draw(2, 7, 9, 3)
  weights = [draw(2, b, b, 3, seed=b) for b in BINS]
  pool = {'avg': adaptive_avg_pool, 'max': adaptive_max_pool}[kind]
  theirs = {'avg': F.adaptive_avg_pool2d, 'max': F.adaptive_max_pool2d}[kind]

  def loss(x):
    return sum((w * y).sum() for w, y in zip(weights, pool(x, BINS), strict=True))

  leaf = nchw(x).requires_grad_()
  sum((nchw(w) * theirs(leaf, b)).sum() for b, w in zip(BINS, weights, strict=True)).backward()
  assert error(jax.jit(jax.grad(loss))(x), nhwc(leaf.grad)) < 1e-14


def test_adaptive_avg_pool_of_bfloat16_rounds_only_the_result():
  x = jnp.asarray(draw(2, 61, 45, 4) + 3, jnp.bfloat16)
  exact = adaptive_avg_pool(x.astype(jnp.float32), BINS)
  for level, reference in zip(adaptive_avg_pool(x, BINS), exact, strict=True):
    assert level.dtype == jnp.bfloat16
    np.testing.assert_allclose(level.astype(jnp.float32), reference, rtol=2**-8)


@pytest.mark.parametrize('size', [(8, 8), (9, 7), (2, 1), (1, 1)])
@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_max_pool_matches_torch(size, dtype):
  x = jnp.asarray(draw(2, *size, 3), dtype)
  theirs = F.max_pool2d(nchw(np.asarray(x, np.float32)), 3, 2, 1)
  np.testing.assert_array_equal(np.asarray(max_pool(x), np.float32), nhwc(theirs))


def test_max_pool_gradient_goes_to_the_first_maximum(x64):
  x = np.round(draw(2, 9, 7, 3))  # many ties
  leaf = nchw(x).requires_grad_()
  (F.max_pool2d(leaf, 3, 2, 1) ** 2).sum().backward()
  gradient = jax.grad(lambda x: (max_pool(x) ** 2).sum())(x)
  np.testing.assert_array_equal(gradient, nhwc(leaf.grad))


def test_max_pool_hides_no_nan():
  x = draw(1, 9, 9, 1)
  x[0, 4, 4] = np.nan
  expected = np.isnan(nhwc(F.max_pool2d(nchw(x), 3, 2, 1)))
  np.testing.assert_array_equal(np.isnan(max_pool(jnp.asarray(x))), expected)


@pytest.mark.parametrize(
  ('kernel_size', 'stride', 'dilation'),
  [(1, 1, 1), (1, 2, 1), (3, 1, 1), (3, 2, 1), (3, 1, 2), (3, 2, 2), (3, 1, 4), (7, 2, 1)],
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


def test_normalize_is_float32_arithmetic_on_bytes():
  image = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), np.uint8)
  mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
  ours = normalize(jnp.asarray(image), mean, std)
  assert ours.dtype == jnp.float32
  np.testing.assert_allclose(ours, (image - np.array(mean)) / np.array(std), rtol=1e-6, atol=1e-7)
  assert normalize(jnp.asarray(image), mean, std, jnp.bfloat16).dtype == jnp.bfloat16


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
