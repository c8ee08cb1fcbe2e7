"""Memory that each device needs to label a whole image whose rows they share, by their number.

    python -m benchmarks.split_height [--depth=50] [--size=2048,4096] [--devices=1,4,8]

Both programs of an image are compiled for simulated CPU devices, and not run. Winograd's
convolutions are left off, which only CPUs have: what remains is what accelerators compute, in
float32.
"""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Sequence
from typing import Any

from benchmarks import child

COLUMNS = (
  'devices',
  'weights and pixels',
  'network',
  'canvas',
  'scores',
  'all, MB a device',
  'messages',
)
CLASSES = 19  # Cityscapes'


def measure(depth: int, size: tuple[int, int]) -> dict[str, float]:
  """Compiles for all devices of this process: megabytes that each needs, and messages an image."""
  import jax
  import jax.numpy as jnp
  import numpy as np

  from pspnet_jax.data.known_classes import CITYSCAPES
  from pspnet_jax.inference.card import Card
  from pspnet_jax.inference.division import divide
  from pspnet_jax.inference.on_device import Pieces, Windows
  from pspnet_jax.inference.protocol import Protocol
  from pspnet_jax.inference.tiled import CANVAS_STEP
  from pspnet_jax.inference.views import make_views, rounded
  from pspnet_jax.models.network import Network
  from pspnet_jax.ops import winograd
  from pspnet_jax.runtime import compiler_options, parallel

  winograd.worthwhile = lambda *_: False
  network = Network(CLASSES, depth=depth, aux_head=False)
  protocol = Protocol(window='image', padding='none')
  card = Card(network.options, CITYSCAPES, size, protocol)
  division = divide(card, split_height=jax.local_device_count() > 1)
  programs = division.programs(
    network.folded(),
    card,
    (*size, 3),
    mirror=False,
    compiler_options=compiler_options.for_network('cpu', train=False),
  )

  def placed(tree: Any, where: Any) -> Any:
    if isinstance(where, jax.Device):
      where = jax.sharding.SingleDeviceSharding(where)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), tree)

  weights = jax.eval_shape(network.fold, network.param_shapes, network.batch_stat_shapes)
  weights = placed(weights, parallel.replicated(division.mesh))
  pixels = jax.ShapeDtypeStruct((1, *size, 3), jnp.uint8)
  inside, padding = np.zeros((1, 4), np.int32), np.zeros((1, 3), np.float32)
  windows = placed(Windows(pixels, inside, padding), division.pixels)  # type: ignore[arg-type]
  [view] = make_views(size, card)
  height, width = division.canvas_size(tuple(rounded(side, CANVAS_STEP) for side in view.piece))
  whole = slice(0, size[0]), slice(0, size[1])
  [(_, row)], [(_, column)] = division.place(view, whole, (height, width))
  ends = row.index, row.weight, column.index, column.weight
  pieces = Pieces(np.zeros(1, np.int32), np.zeros((1, 2), np.int32), *(x[None] for x in ends))
  canvas = placed(jax.ShapeDtypeStruct((height, width, CLASSES), jnp.float32), division.canvas)
  logits = placed(jax.eval_shape(programs.run, weights, windows), division.logits)

  run = programs.run.lower(weights, windows).compile()
  add = programs.add.lower(canvas, logits, pieces).compile()
  temporaries = [x.memory_analysis().temp_size_in_bytes / 2**20 for x in (run, add)]
  sent = r' (?:all-gather|all-reduce|all-to-all|collective-permute)(?:-start)?\('
  found = {
    'weights': run.memory_analysis().argument_size_in_bytes / 2**20,
    'network': temporaries[0],
    'canvas': 4 * height * width * CLASSES / 2**20 / jax.local_device_count() ** division.by_rows,
    'scores': temporaries[1],
    'messages': len(re.findall(sent, run.as_text() + add.as_text())),
  }
  return found | {'all': found['weights'] + found['canvas'] + max(temporaries)}


def main(arguments: Sequence[str] | None = None) -> None:
  """Parses the command line, compiles in a process for each number of devices, prints a table."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--depth', type=int, default=50)
  parser.add_argument('--size', default='2048,4096', help='height and width of the image')
  parser.add_argument('--devices', default='1,4,8', help='how many')
  parser.add_argument('--child', action='store_true', help=argparse.SUPPRESS)
  flags = parser.parse_args(arguments)
  height, width = map(int, flags.size.split(','))
  if flags.child:
    print(json.dumps(measure(flags.depth, (height, width))))
    return
  print(f'PSPNet-{flags.depth}, {CLASSES} classes, a whole image of {height}×{width}, float32:\n')
  print(f'| {" | ".join(COLUMNS)} |\n|{"--:|" * len(COLUMNS)}')
  for count in flags.devices.split(','):
    simulated = f'--xla_force_host_platform_device_count={count}'
    found = child.result_of(
      'benchmarks.split_height',
      *('--child', f'--depth={flags.depth}', f'--size={flags.size}'),
      env={**os.environ, 'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': simulated},
    )
    figures = [f'{found[key]:,.0f}' for key in ('weights', 'network', 'canvas', 'scores', 'all')]
    print(f'| {" | ".join([count, *figures, str(found["messages"])])} |', flush=True)


if __name__ == '__main__':
  main()
