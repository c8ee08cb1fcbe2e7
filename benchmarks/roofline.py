"""What bounds each part of a PSPNet on a device: its arithmetic, or the memory's speed.

    python -m benchmarks.roofline [--dtype=bfloat16 --batch=16] [--roof=989,3350] [--plot=FILE]

FLOPs and bytes of a forward pass are counted on `tests.torch_pspnet`, every array read once by who
uses it and written once. Batch normalisation is what it is in training: one pass over its input for
the statistics, one that reads and writes it, with the ReLU; inference has it in the kernels. The
ceilings are this device's, measured (a large matrix product, and adding a number to a large array),
or those given: --roof=TFLOP/s,GB/s, of another's data sheet.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import torch
from torch import nn

from benchmarks import device
from benchmarks.timing import Program, alternate
from tests.torch_pspnet import TorchPSPNet

PARTS = {
  'layer0': 'stem',
  'layer1': 'stage 1',
  'layer2': 'stage 2',
  'layer3': 'stage 3',
  'layer4': 'stage 4',
  'ppm': 'pyramid',
  'cls.0': 'head, 3×3',
  'cls': 'classifier',
  'aux': 'auxiliary head',
}
SPLIT, NORMALISATION = 'head, 3×3, split', 'normalisation, in training'


def count(depth: int, size: int, batch: int, item_bytes: int) -> dict[str, dict[str, float]]:
  """FLOPs and bytes of each part for a batch of at least two, 150 classes."""
  with torch.device('meta'):
    model = TorchPSPNet(150, depth=depth)
    image = torch.empty(batch, 3, size, size)
  parts = {name: {'flops': 0.0, 'bytes': 0.0} for name in PARTS.values()}
  normalisation = {'flops': 0.0, 'bytes': 0.0}

  def hook(name: str) -> Any:
    part = parts[next(label for prefix, label in PARTS.items() if name.startswith(prefix))]

    def add(module: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
      if isinstance(module, nn.Conv2d):
        arrays = (inputs[0], module.weight, output)
        part['flops'] += 2 * output.numel() * module.weight[0].numel()
        part['bytes'] += item_bytes * sum(x.numel() for x in arrays)
      else:
        normalisation['bytes'] += 3 * item_bytes * output.numel()

    return add

  for name, module in model.named_modules():
    if isinstance(module, (nn.Conv2d, nn.BatchNorm2d)):
      module.register_forward_hook(hook(name))
  model.train()(image)
  head = parts['head, 3×3']
  # Half of its channels are the levels': their grids, a thousandth as large, stay out of the count.
  levels, side = model.cls[0].in_channels // 2, -(-size // 8)
  split = {
    'flops': head['flops'] / 2,
    'bytes': head['bytes'] - item_bytes * batch * levels * side**2,
  }
  return {**parts, SPLIT: split, NORMALISATION: normalisation}


def bandwidth() -> float:
  """Bytes a second, read and written, of adding to an array of 512 MiB."""
  x = jnp.zeros(2**27, jnp.float32)
  add = jax.jit(lambda x: x + 1, donate_argnums=0)
  last = [x]

  def run() -> None:
    last[:] = [add(*last)]

  times = alternate({'add': Program(run, lambda: jax.block_until_ready(last))}, rounds=5)['add']
  return 2 * x.nbytes / min(times)


def plot(parts: dict[str, dict[str, float]], peak: float, speed: float, path: Path) -> None:
  """The least time of each part, by its arithmetic and by its memory traffic."""
  from matplotlib import pyplot

  figure, axes = pyplot.subplots(figsize=(6.4, 3.8), layout='constrained')
  bars = (('arithmetic', 'flops', peak, -0.2), ('memory', 'bytes', speed, 0.2))
  for name, key, ceiling, shift in bars:
    times = [1e3 * found[key] / ceiling for found in parts.values()]
    places = [i + shift for i in range(len(parts))]
    axes.barh(places, times, 0.4, label=name)
  axes.set_yticks(range(len(parts)), parts)
  axes.invert_yaxis()
  axes.set_xlabel('ms at least, forward')
  axes.legend(frameon=False)
  axes.spines[['top', 'right']].set_visible(False)
  figure.savefig(path, dpi=120)


def main(arguments: Sequence[str] | None = None) -> None:
  """Parses the command line, prints a table and draws the plot."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--depth', type=int, default=50)
  parser.add_argument('--size', type=int, default=473)
  parser.add_argument('--batch', type=int, default=2)
  parser.add_argument('--dtype', default='float32')
  parser.add_argument('--roof', help="TFLOP/s,GB/s instead of this device's")
  parser.add_argument('--plot', type=Path)
  flags = parser.parse_args(arguments)
  if flags.roof:
    peak, speed = (
      float(x) * unit for x, unit in zip(flags.roof.split(','), (1e12, 1e9), strict=True)
    )
  else:
    peak, speed = max(device.matmul_ceiling(flags.dtype).values()), bandwidth()
    print(', '.join(f'{name} {value}' for name, value in device.describe().items()))
  print(f'{peak / 1e12:.3g} TFLOP/s, {speed / 1e9:.3g} GB/s: {peak / speed:.0f} FLOP a byte\n')
  parts = count(flags.depth, flags.size, flags.batch, jnp.dtype(flags.dtype).itemsize)
  print('| part | 10⁹ FLOP | MB | FLOP a byte | arithmetic, ms | memory, ms |')
  print('|---|--:|--:|--:|--:|--:|')
  for name, found in parts.items():
    flops, size = found['flops'], found['bytes']
    print(
      f'| {name} | {flops / 1e9:.1f} | {size / 2**20:.0f} | {flops / size:.0f} '
      f'| {1e3 * flops / peak:.3g} | {1e3 * size / speed:.3g} |'
    )
  if flags.plot:
    plot(parts, peak, speed, flags.plot)


if __name__ == '__main__':
  main()
