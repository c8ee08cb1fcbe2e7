"""What dilation costs: the 3×3 convolutions of stages 3 and 4, forward and backward.

Each as a dilated convolution by the library, as a plain one of its phases (space-to-batch: every
d-th pixel of every d-th row makes an image), and as the network computes it, beside a plain one of
the same image: as many multiplications, and what a library should take.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks import work
from benchmarks.timing import Program, alternate, summary
from pspnet_jax.ops.conv import conv

COLUMNS = ('convolution', 'dilation', 'way', 'ms', 'of a plain one')
Convolution = Callable[[jax.Array, jax.Array, int], jax.Array]


def dilated(x: jax.Array, kernel: jax.Array, dilation: int) -> jax.Array:
  """[N, H, W, I] with [3, 3, I, O], zero padding `dilation`, by the library."""
  padding, axes = [(dilation, dilation)] * 2, ('NHWC', 'HWIO', 'NHWC')
  return lax.conv_general_dilated(
    x, kernel, (1, 1), padding, rhs_dilation=(dilation, dilation), dimension_numbers=axes
  )


def space_to_batch(x: jax.Array, kernel: jax.Array, dilation: int) -> jax.Array:
  """The same as a plain convolution of dilation² images."""
  (n, height, width, _), d = x.shape, dilation
  rows, columns = math.ceil(height / d), math.ceil(width / d)
  x = jnp.pad(x, ((0, 0), (0, rows * d - height), (0, columns * d - width), (0, 0)))
  x = x.reshape(n, rows, d, columns, d, -1).transpose(0, 2, 4, 1, 3, 5)
  y = dilated(x.reshape(n * d * d, rows, columns, -1), kernel, 1)
  y = y.reshape(n, d, d, rows, columns, -1).transpose(0, 3, 1, 4, 2, 5)
  return y.reshape(n, rows * d, columns * d, -1)[:, :height, :width]


WAYS: dict[str, Convolution] = {
  'plain': lambda x, kernel, _: dilated(x, kernel, 1),
  'dilated': dilated,
  'space-to-batch': space_to_batch,
  'pspnet_jax': lambda x, kernel, dilation: conv(x, kernel, dilation=dilation),
}


def measure(case: work.Case, rounds: int) -> dict[str, Any]:
  """Times the convolutions of both stages, every way in turn."""
  side = math.ceil(case.size / 8)
  results = []
  for channels, dilation in ((256, 2), (512, 4)):
    image = jax.random.normal(jax.random.key(0), (case.batch, side, side, channels), case.dtype)
    kernel = jax.random.normal(jax.random.key(1), (3, 3, channels, channels), case.dtype)
    programs = {name: _program(way, image, kernel, dilation) for name, way in WAYS.items()}
    times = {name: summary(x) for name, x in alternate(programs, rounds).items()}
    results.append({'channels': channels, 'side': side, 'dilation': dilation, 'ways': times})
  return {'case': f'3×3 convolutions of a {case}', 'results': results}


def rows(measured: dict[str, Any]) -> Iterator[list[str]]:
  """The ways as rows of a table."""
  for found in measured['results']:
    plain = found['ways']['plain']['seconds']
    label = f'{found["side"]}²×{found["channels"]}'
    for name, times in found['ways'].items():
      seconds = times['seconds']
      numbers = [str(found['dilation']), name, f'{1e3 * seconds:.2f}', f'{seconds / plain:.2f}']
      yield [label, *numbers]


def _program(way: Convolution, x: jax.Array, kernel: jax.Array, dilation: int) -> Program:
  @jax.jit
  def both(x: jax.Array, kernel: jax.Array) -> Any:
    y, backward = jax.vjp(lambda x, kernel: way(x, kernel, dilation), x, kernel)
    return y, backward(y)

  last: list[Any] = []

  def run() -> None:
    last[:] = [both(x, kernel)]

  return Program(run, lambda: jax.block_until_ready(last))
