"""What dilation costs: the 3×3 convolutions of stages 3 and 4 and their two gradients, each apart.

Each as a dilated convolution by the library, as a plain one of its phases (space-to-batch: every
d-th pixel of every d-th row makes an image), and as the network computes it, beside a plain one of
the same image: as many multiplications, and what a library should take.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax

from benchmarks import work
from benchmarks.timing import Program, alternate, summary
from pspnet_jax.ops import dilated
from pspnet_jax.ops.conv import conv

PARTS = ('forward', 'image gradient', 'kernel gradient')
COLUMNS = ('convolution', 'dilation', 'way', *(f'{part}, ms' for part in PARTS), 'of a plain one')
Convolution = Callable[[jax.Array, jax.Array, int], jax.Array]


def space_to_batch(x: jax.Array, kernel: jax.Array, dilation: int) -> jax.Array:
  """Convolves [N, H, W, I] with [3, 3, I, O] as a plain convolution of dilation² images does."""
  (n, height, width, _), d = x.shape, dilation
  y = dilated.direct(dilated.phases(x, d), kernel)
  rows, columns = y.shape[1:3]
  y = y.reshape(n, d, d, rows, columns, -1).transpose(0, 3, 1, 4, 2, 5)
  return y.reshape(n, rows * d, columns * d, -1)[:, :height, :width]


WAYS: dict[str, Convolution] = {
  'plain': lambda x, kernel, _: dilated.direct(x, kernel),
  'dilated': lambda x, kernel, dilation: dilated.direct(x, kernel, dilation=dilation),
  'space-to-batch': space_to_batch,
  'pspnet_jax': lambda x, kernel, dilation: conv(x, kernel, dilation=dilation),
}


def measure(case: work.Case, rounds: int) -> dict[str, Any]:
  """Times the convolutions of both stages, every part and way in turn."""
  side = -(-case.size // 8)
  results = []
  for channels, dilation in ((256, 2), (512, 4)):
    image = jax.random.normal(jax.random.key(0), (case.batch, side, side, channels), case.dtype)
    kernel = jax.random.normal(jax.random.key(1), (3, 3, channels, channels), case.dtype)
    ways: dict[str, dict[str, Any]] = {name: {} for name in WAYS}
    for part in PARTS:
      programs = {name: _program(way, part, image, kernel, dilation) for name, way in WAYS.items()}
      for name, seconds in alternate(programs, rounds).items():
        ways[name][part] = summary(seconds)
    results.append({'channels': channels, 'side': side, 'dilation': dilation, 'ways': ways})
  return {'case': f'3×3 convolutions of a {case}', 'results': results}


def rows(measured: dict[str, Any]) -> Iterator[list[str]]:
  """The ways as rows of a table."""
  for found in measured['results']:
    seconds = {
      name: [times[part]['seconds'] for part in PARTS] for name, times in found['ways'].items()
    }
    label = f'{found["side"]}²×{found["channels"]}'
    for name, parts in seconds.items():
      ratio = sum(parts) / sum(seconds['plain'])
      numbers = [*(f'{1e3 * part:.2f}' for part in parts), f'{ratio:.2f}']
      yield [label, str(found['dilation']), name, *numbers]


def _program(
  way: Convolution, part: str, x: jax.Array, kernel: jax.Array, dilation: int
) -> Program:
  @jax.jit
  def compute(x: jax.Array, kernel: jax.Array, g: jax.Array) -> Any:
    y, backward = jax.vjp(lambda x, kernel: way(x, kernel, dilation), x, kernel)
    return y if part == 'forward' else backward(g)[PARTS.index(part) - 1]

  last: list[Any] = []

  def run() -> None:
    last[:] = [compute(x, kernel, x)]  # as many channels in as out: x is a gradient, too

  return Program(run, lambda: jax.block_until_ready(last))
