"""Pixels are normalised and arrays resized as torch does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch.nn.functional as F  # noqa: N812

from pspnet_jax.ops.images import normalize, resize
from tests.ops.arrays import EPS, RULES, draw, error, precision
from tests.torch_pspnet import nchw, nhwc


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


def test_normalize_is_float32_arithmetic_on_bytes():
  image = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), np.uint8)
  mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
  ours = normalize(jnp.asarray(image), mean, std)
  assert ours.dtype == jnp.float32
  np.testing.assert_allclose(ours, (image - np.array(mean)) / np.array(std), rtol=1e-6, atol=1e-7)
  assert normalize(jnp.asarray(image), mean, std, jnp.bfloat16).dtype == jnp.bfloat16
