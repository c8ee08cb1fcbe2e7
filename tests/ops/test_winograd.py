import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export, lax

from pspnet_jax.ops import winograd
from pspnet_jax.ops.conv import computed_once, conv
from pspnet_jax.runtime import compiler_options

# Whole tiles, parts of tiles, less than one; sides of both kinds.
SIZES = [(8, 8), (13, 6), (30, 31), (3, 1)]


def direct(x, kernel, dilation):
  numbers = ('NHWC', 'HWIO', 'NHWC')
  padding = [(dilation, dilation)] * 2
  return lax.conv_general_dilated(
    x, kernel, (1, 1), padding, rhs_dilation=(dilation,) * 2, dimension_numbers=numbers
  )


def draw(size, channels=(5, 7), dtype=np.float64):
  rng = np.random.default_rng(0)
  x, kernel, g = (
    rng.normal(size=shape).astype(dtype)
    for shape in [(2, *size, channels[0]), (3, 3, *channels), (2, *size, channels[1])]
  )
  return x, kernel / np.sqrt(9 * channels[0]).astype(dtype), g


def with_gradients(convolve, x, kernel, g, dilation=2):
  @jax.jit
  def run(x, kernel, g):
    y, gradients = jax.vjp(lambda x, kernel: convolve(x, kernel, dilation), x, kernel)
    return y, *gradients(g)

  return run(x, kernel, g)


def error(ours, theirs):
  ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
  assert ours.shape == theirs.shape
  return np.abs(ours - theirs).max() / np.abs(theirs).max()


@pytest.mark.parametrize('dilation', [1, 2, 4])
@pytest.mark.parametrize('size', SIZES)
def test_it_is_the_convolution_and_so_are_its_gradients(size, dilation, x64):
  arrays = draw(size)
  ours, theirs = (with_gradients(f, *arrays, dilation) for f in (winograd.conv3x3, direct))
  for a, b in zip(ours, theirs, strict=True):
    assert a.dtype == np.float64
    assert error(a, b) < 1e-14


def test_float32_loses_no_more_than_a_direct_convolution_does():
  # The sums are of a few thousand products: their order alone changes the last digits.
  x, kernel, g = draw((20, 20), (512, 64), np.float32)
  wide = [np.asarray(array, np.float64) for array in (x, kernel, g)]
  with jax.enable_x64(True):
    exact = [np.asarray(array) for array in with_gradients(direct, *wide)]
  ours, theirs = (with_gradients(f, x, kernel, g) for f in (winograd.conv3x3, direct))
  for a, b, expected in zip(ours, theirs, exact, strict=True):
    assert error(a, expected) < max(4 * error(b, expected), 1e-6)


def test_bfloat16_is_rounded_once():
  x, kernel, g = (jnp.asarray(array, jnp.bfloat16) for array in draw((9, 9), (64, 32)))
  ours = with_gradients(winograd.conv3x3, x, kernel, g)
  exact = with_gradients(direct, *(array.astype(jnp.float32) for array in (x, kernel, g)))
  for a, b in zip(ours, exact, strict=True):
    assert a.dtype == jnp.bfloat16
    # The last digit, half up or half down, is where float32 sums in another order may differ.
    np.testing.assert_allclose(a.astype(jnp.float32), b, rtol=2**-8, atol=1e-5)


@pytest.mark.parametrize(
  ('image', 'kernel', 'dilation', 'expected'),
  [
    ((1, 60, 60, 2048), (3, 3, 2048, 512), 1, True),  # the head
    ((1, 60, 60, 512), (3, 3, 512, 512), 4, True),  # stage 4
    ((1, 60, 60, 64), (3, 3, 64, 64), 1, False),  # stage 1: the adding would take longer
    ((1, 8, 12, 512), (3, 3, 512, 512), 4, True),  # 8×16 of tiles
    ((1, 9, 9, 512), (3, 3, 512, 512), 4, False),  # 16² of tiles for 9² of image
    ((1, 60, 60, 512), (1, 1, 512, 512), 1, False),
    ((1, 60, 60, 512), (7, 7, 512, 512), 1, False),
  ],
)
def test_only_where_it_takes_less_time(image, kernel, dilation, expected):
  assert winograd.worthwhile(image, kernel, dilation) is expected


@pytest.mark.parametrize(('stride', 'direct_ones'), [(1, 0), (2, 1)])
def test_a_wide_convolution_takes_it_in_programs_for_a_cpu(stride, direct_ones):
  shapes = (
    jax.ShapeDtypeStruct((1, 8, 8, 256), 'float32'),
    jax.ShapeDtypeStruct((3, 3, 256, 256), 'float32'),
  )

  def count(name, platform):
    run = jax.jit(lambda x, k: conv(x, k, stride=stride))
    program = export.export(run, platforms=[platform])(*shapes)
    return program.mlir_module().count(f'stablehlo.{name}')

  assert count('convolution', 'cpu') == direct_ones
  assert count('dot_general', 'cpu') == (0 if direct_ones else 16)
  for platform in ('cuda', 'tpu'):  # of this process, which has a CPU only
    assert count('convolution', platform) == 1 and not count('dot_general', platform)


def test_what_is_stored_is_computed_once():
  def chain(x, kernels, keep):
    total = 0
    for kernel in kernels:
      x = keep(jax.nn.relu(x + x @ kernel))
      total += (x @ kernel).sum()
    return total

  x, kernels = jnp.ones((64, 64)), jnp.ones((8, 64, 64))

  def additions(keep):
    jitted = jax.jit(
      lambda x, k: chain(x, k, keep),
      compiler_options=compiler_options.for_network('cpu', train=True),
    )
    return jitted.lower(x, kernels).compile().as_text().count(' maximum(')

  assert additions(computed_once) <= 8 < additions(lambda x: x)
