"""Peak memory of evaluating one image against its size, and semseg's loop beside it.

    python -m benchmarks.image_sizes [--json=FILE] [--plot=FILE.png]

Each size runs in a process of its own, on the CPU, with a narrow network: what grows with the image
are the scores. The peer's loop keeps float64 scores of the whole image on the host.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from pspnet_jax.runtime.files import write_whole

CLASSES, CROP = 19, 713
OURS, PEER = (1000, 2000, 4000, 8000, 12000), (1000, 2000, 4000)  # sides of square images, pixels


def run_ours(side: int) -> None:
  """Labels one image."""
  import numpy as np

  from pspnet_jax.data.known_classes import CITYSCAPES
  from pspnet_jax.inference.card import Card
  from pspnet_jax.models.network import Network
  from pspnet_jax.predictor import Predictor

  network = {'num_classes': CLASSES, 'depth': 10, 'width': 8, 'head_channels': 64}
  network |= {'stem_channels': (8, 8, 16), 'aux_head': False}
  card = Card(network=network, spec=CITYSCAPES, crop_size=(CROP, CROP))
  model = Predictor(card, *Network(**network).init(0), canvas_mb=1024)
  label = model(np.zeros((side, side, 3), np.uint8))
  if label.shape != (side, side):
    raise RuntimeError(f'a label of {label.shape} for an image of {side}²')


def run_peer(side: int) -> None:
  """The same by semseg's loop."""
  import numpy as np

  from benchmarks.semseg_evaluation import Evaluation
  from pspnet_jax.data.spec import IMAGENET_MEAN, IMAGENET_STD
  from tests.torch_pspnet import TorchPSPNet

  network = TorchPSPNet(
    CLASSES, depth=10, width=8, head_channels=64, stem_channels=(8, 8, 16), aux_head=False
  )
  loop = Evaluation(
    network.eval(),
    crop=CROP,
    base_size=side,
    scales=(1.0,),
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
  )
  loop(np.zeros((side, side, 3), np.uint8))


def measure(program: str, side: int) -> dict[str, float]:
  """Peak resident memory in MB and seconds of a process."""
  command = [sys.executable, '-m', 'benchmarks.image_sizes', '--child', program, str(side)]
  environment = {**os.environ, 'JAX_PLATFORMS': 'cpu'}
  began = time.perf_counter()
  result = subprocess.run(
    command, env=environment, capture_output=True, text=True, check=False, timeout=3600
  )
  if result.returncode:
    raise RuntimeError(f'{program} at {side}²: {result.stderr[-800:]}')
  peak = float(result.stdout.splitlines()[-1])
  return {'side': side, 'peak_mb': peak, 'seconds': time.perf_counter() - began}


def plot(report: dict[str, list[dict[str, float]]], path: Path) -> None:
  """Draws both curves; beyond what was run, the peer's is what its scores alone would take."""
  from matplotlib import pyplot

  figure, axes = pyplot.subplots(figsize=(6.4, 3.6), layout='constrained')
  for name, colour in (('pspnet_jax', 'C0'), ("semseg's loop", 'C3')):
    found = report[name]
    sides, peaks = [x['side'] for x in found], [x['peak_mb'] / 1024 for x in found]
    axes.plot(sides, peaks, 'o-', color=colour, label=name)
  axes.axhline(4, color='0.6', linewidth=1, linestyle=':')
  axes.set(xlabel='side of a square image, pixels', ylabel='peak memory of the process, GB')
  axes.set_ylim(0)
  axes.legend(frameon=False)
  axes.spines[['top', 'right']].set_visible(False)
  figure.savefig(path, dpi=120)


def main() -> None:
  """Parses the command line, measures, prints a table, writes figures and the plot."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--json', type=Path)
  parser.add_argument('--plot', type=Path)
  parser.add_argument('--child', nargs=2, help=argparse.SUPPRESS)
  flags = parser.parse_args()
  if flags.child:
    program, side = flags.child
    (run_ours if program == 'pspnet_jax' else run_peer)(int(side))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return
  report: dict[str, list[dict[str, float]]] = {}
  print('| program | image | peak memory, MB | seconds |\n|---|---|---|---|')
  for program, sides in (('pspnet_jax', OURS), ("semseg's loop", PEER)):
    for side in sides:
      found = measure(program, side)
      report.setdefault(program, []).append(found)
      print(
        f'| {program} | {side}² | {found["peak_mb"]:.0f} | {found["seconds"]:.0f} |', flush=True
      )
      if flags.json:
        write_whole(flags.json, json.dumps(report, indent=1) + '\n')
  if flags.plot:
    plot(report, flags.plot)


if __name__ == '__main__':
  main()
