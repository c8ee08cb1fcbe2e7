"""Dilated convolutions by phases are the plain ones, and so are their gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from pspnet_jax.ops import dilated
from pspnet_jax.ops.conv import conv
from tests.ops.arrays import draw, error

# The crops in use, 473, 713 and 769, an eighth as large; then odd sides and sides below a dilation.
SIZES = [(60, 60), (90, 90), (97, 97), (13, 6), (3, 1)]


def with_gradients(convolve, x, kernel, g):
  @jax.jit
  def run(x, kernel, g):
    y, gradients = jax.vjp(convolve, x, kernel)
    return y, *gradients(g)

  return run(x, kernel, g)


@pytest.mark.parametrize(('kernel_size', 'dilation'), [(3, 2), (3, 4), (5, 3)])
@pytest.mark.parametrize('size', SIZES)
def test_it_is_the_convolution_and_so_are_its_gradients(size, dilation, kernel_size, x64):
  x, g = draw(2, *size, 3), draw(2, *size, 5, seed=1)
  kernel = draw(kernel_size, kernel_size, 3, 5, seed=2)
  ours, theirs = (
    with_gradients(lambda x, k, f=f: f(x, k, dilation=dilation), x, kernel, g)
    for f in (dilated.conv, dilated.direct)
  )
  by_phases = jax.jit(dilated.kernel_gradient_by_phases, static_argnames='dilation')
  ours, theirs = (*ours, by_phases(x, g, kernel=kernel, dilation=dilation)), (*theirs, theirs[-1])
  for a, b in zip(ours, theirs, strict=True):
    assert a.dtype == np.float64
    assert error(a, b) < 1e-12


@pytest.mark.parametrize('dtype', [jnp.bfloat16, jnp.float16])
def test_half_precision_stays_and_survives_remat(dtype):
  x, kernel, g = draw(2, 9, 7, 8), draw(3, 3, 8, 4, seed=1) / 9, draw(2, 9, 7, 4, seed=2)
  half = [jnp.asarray(array, dtype) for array in (x, kernel, g)]
  ours = with_gradients(jax.checkpoint(lambda x, k: dilated.conv(x, k, 2)), *half)
  by_phases = dilated.kernel_gradient_by_phases(half[0], half[2], kernel=half[1], dilation=2)
  wide = [array.astype(jnp.float32) for array in half]
  exact = with_gradients(lambda x, k: dilated.direct(x, k, dilation=2), *wide)
  for a, b in zip((*ours, by_phases), (*exact, exact[-1]), strict=True):
    assert a.dtype == dtype
    assert error(a, b) < jnp.finfo(dtype).eps


def test_only_the_image_and_the_kernel_are_kept_for_the_gradient():
  x, kernel = jnp.zeros((1, 7, 7, 8)), jnp.zeros((3, 3, 8, 4))
  _, gradients = jax.vjp(lambda x, k: dilated.conv(x, k, 2), x, kernel)
  assert sorted(a.shape for a in jax.tree.leaves(gradients)) == [(1, 7, 7, 8), (3, 3, 8, 4)]


@pytest.mark.parametrize('channels', [8, 256])
def test_programs_for_gpus_have_no_strided_kernel_gradient(channels):
  def program(platform):
    def gradient(x, kernel, g):
      return jax.vjp(lambda k: conv(x, k, dilation=4), kernel)[1](g)[0]

    return export.export(jax.jit(gradient), platforms=[platform])(x, kernel, x).mlir_module()

  x = jax.ShapeDtypeStruct((1, 16, 16, channels), 'float32')
  kernel = jax.ShapeDtypeStruct((3, 3, channels, channels), 'float32')
  assert 'stride = [4, 4]' in program('tpu')  # which is the faster way there
  for platform in ('cuda', 'rocm'):
    assert 'stride = [4, 4]' not in program(platform)
    assert program(platform).count('stablehlo.convolution') == 1
