"""Our exports beside the one that PyTorch writes of the same weights, and beside the live network.

    python -m benchmarks.onnx_export --sizes=473,713 --rounds=15 --json=times.json
    python -m benchmarks.onnx_export --workdir=DIR --root=CAMVID [--int8] [--limit=20]

The first takes times: semseg's PSPNet-50 with random weights, uint8 pixels in, uint8 labels out,
both ONNX files run by onnxruntime on the CPU in alternating rounds. PyTorch's is what
`torch.onnx.export` writes of tests/torch_pspnet.py, with normalisation and argmax. The second runs
files made of a workdir on its validation images, whole and at their own size, which has to be one:
differences from the live network, and mean IoU.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import io
import json
import os
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import device
from benchmarks.timing import Program as Timed
from benchmarks.timing import alternate, summary
from pspnet_jax.config import files, parts
from pspnet_jax.data.palettes import default_palette
from pspnet_jax.data.spec import DatasetSpec, Source
from pspnet_jax.evaluation.metrics import Confusion, Scores
from pspnet_jax.exports import onnx_file, onnx_int8, stablehlo
from pspnet_jax.exports.comparison import Comparison
from pspnet_jax.exports.program import Program, Run
from pspnet_jax.inference.card import Card
from pspnet_jax.models.network import Network
from pspnet_jax.runtime.files import write_whole
from pspnet_jax.weights.checkpoints import Checkpoints
from tests import torch_pspnet

CALIBRATED_BY = 100  # training images


class Deployed(torch.nn.Module):
  """The network as it is deployed: pixels to labels."""

  def __init__(self, network: torch.nn.Module, card: Card):
    super().__init__()
    self.network = network
    for name, values in (('mean', card.mean), ('std', card.std)):
      self.register_buffer(name, torch.tensor(values)[:, None, None])

  def forward(self, image: torch.Tensor) -> torch.Tensor:
    pixels = (image.permute(0, 3, 1, 2).float() - self.mean) / self.std
    return self.network(pixels)['logits'].argmax(1).to(torch.uint8)


def random_program(side: int, depth: int, num_classes: int, **options: Any) -> Program:
  """semseg's network with random weights, none of which is trivial."""
  network = Network(num_classes, depth=depth, aux_head=False, **options)
  names = tuple(f'class_{i}' for i in range(num_classes))
  spec = DatasetSpec(names, default_palette(num_classes))
  card = Card(network=network.options, spec=spec, crop_size=(side, side))
  params = torch_pspnet.random_arrays(network.param_shapes, 0)
  batch_stats = torch_pspnet.random_arrays(network.batch_stat_shapes, 1)
  # Class scores of one size, or a few classes would take every pixel.
  params['classifier/conv/bias'] *= 0
  return Program(card, network, params, batch_stats, 'random', size=(side, side))


def of_torch(program: Program) -> bytes:
  """What `torch.onnx.export` writes, by its TorchScript exporter.

  That one knows adaptive pooling only of maps that the bins divide, as those of 473² and 713².
  """
  options = {k: v for k, v in program.network.options.items() if k not in ('num_classes', 'dtype')}
  model = torch_pspnet.TorchPSPNet(program.card.spec.num_classes, **options)
  model = torch_pspnet.load(model, program.params, program.batch_stats).eval()
  image = torch.zeros((1, *program.card.crop_size, 3), dtype=torch.uint8)
  file = io.BytesIO()
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')  # of the older exporter, that it is the older one
    torch.onnx.export(
      Deployed(model, program.card),
      (image,),
      file,
      input_names=['image'],
      output_names=['labels'],
      opset_version=17,
      dynamo=False,
    )
  return file.getvalue()


def compare_times(program: Program, rounds: int, threads: int) -> dict[str, Any]:
  """Both files in turn; seconds an image, and whether they agree."""
  contents = {'pspnet_jax': onnx_file.make(program), 'torch.onnx': of_torch(program)}
  runs = {name: onnx_file.runner(content, threads) for name, content in contents.items()}
  rng = np.random.default_rng(0)
  side = program.card.crop_size[0]
  coarse = rng.integers(0, 256, (1, side // 16 + 1, side // 16 + 1, 3))
  image = coarse.repeat(16, 1).repeat(16, 2)[:, :side, :side].astype(np.uint8)
  labels = [run(image)['labels'] for run in runs.values()]
  timed = {name: Timed(lambda run=run: run(image), lambda: None) for name, run in runs.items()}
  seconds = alternate(timed, rounds)
  ours, theirs = (summary(x) for x in seconds.values())
  # Neighbours in time, so that what slows both down for a while does not count.
  ratios = sorted(a / b for a, b in zip(*seconds.values(), strict=True))
  return {
    'side': side,
    'ours': ours,
    'torch.onnx': theirs,
    'ratio': ours['seconds'] / theirs['seconds'],
    'ratio of neighbours': summary(ratios)['seconds'],
    'labels equal': float((labels[0] == labels[1]).mean()),
    'classes seen': len(np.unique(labels[1])),
    'megabytes': {name: len(content) / 1e6 for name, content in contents.items()},
  }


def times(flags: argparse.Namespace) -> dict[str, Any]:
  """Measures every size and prints a table."""
  versions = {name: importlib.metadata.version(name) for name in ('onnx', 'onnxruntime')}
  report: dict[str, Any] = {'about': device.describe() | versions, 'threads': flags.threads}
  report['rows'] = []
  print(json.dumps(report['about'], indent=1))
  print('| image | ours, s | torch.onnx, s | ratio | of neighbours | labels equal | MB |')
  print('|---|---|---|---|---|---|---|')
  for side in flags.sizes:
    program = random_program(side, flags.depth, flags.num_classes, width=flags.width)
    row = compare_times(program, flags.rounds, flags.threads)
    report['rows'].append(row)
    ours, theirs = (
      f'{x["seconds"]:.3f} ({x["from"]:.3f}-{x["to"]:.3f})'
      for x in (row['ours'], row['torch.onnx'])
    )
    megabytes = ' / '.join(f'{x:.0f}' for x in row['megabytes'].values())
    print(
      f'| {side}² | {ours} | {theirs} | {row["ratio"]:.3f} | {row["ratio of neighbours"]:.3f} '
      f'| {row["labels equal"]:.4%} | {megabytes} |',
      flush=True,
    )
  return report


def scores(flags: argparse.Namespace) -> dict[str, Any]:
  """Runs the files of a workdir on its validation images and prints a table."""
  config = files.load_saved(flags.workdir / 'config.json')
  if flags.root:
    config.data.root = str(flags.root)
  val = parts.open_split(config, 'val')
  with Checkpoints(flags.workdir, read_only=True) as checkpoints:
    found = checkpoints.load('best', lambda card: card.build_network(dtype=onnx_file.DTYPE))
  assert found.network is not None
  shape = val[0]['image'].shape
  program = Program(
    *(found.card, found.network, found.params, found.batch_stats),
    origin=f'step {found.step}',
    size=(shape[0], shape[1]),
    probabilities=True,
  )
  content = onnx_file.make(program)
  runs: dict[str, Run] = {'live': program.live(), 'ONNX': onnx_file.runner(content)}
  if flags.int8:
    train = parts.open_split(config, 'train')
    chosen = range(0, len(train), max(1, len(train) // CALIBRATED_BY))
    small = onnx_int8.quantized(content, (train[i]['image'] for i in chosen))
    runs[f'ONNX int8, {len(small) / 1e6:.1f} of {len(content) / 1e6:.1f} MB'] = onnx_file.runner(
      small
    )
  else:
    runs['StableHLO'] = stablehlo.runner(stablehlo.make(program))
  return _scored(runs, val, flags.limit or len(val), shape)


def _scored(
  runs: dict[str, Run], val: Source, limit: int, shape: tuple[int, ...]
) -> dict[str, Any]:
  classes = val.spec.num_classes
  compared = {name: Comparison() for name in runs}
  counts = dict.fromkeys(runs, Confusion.zeros(classes))
  seconds = dict.fromkeys(runs, 0.0)
  for run in runs.values():  # compiles
    run(val[0]['image'][None])
  for i in range(min(limit, len(val))):
    example = val[i]
    if example['image'].shape != shape:
      raise SystemExit(f'{example["name"]} is of another size than the first image')
    live = runs['live'](example['image'][None])
    for name, run in runs.items():
      began = time.perf_counter()
      answer = run(example['image'][None])
      seconds[name] += time.perf_counter() - began
      compared[name].add(live, answer)
      count = Confusion.count(example['label'], answer['labels'][0].astype(np.int32), classes)
      counts[name] = counts[name].merge(count)
  report = {}
  print('| program | mIoU | labels equal | largest difference of a probability | s an image |')
  print('|---|---|---|---|---|')
  for name, same in compared.items():
    miou = Scores(counts[name].compute()).miou
    each = seconds[name] / same.images
    report[name] = {'miou': miou, 'equal': same.share, 'difference': same.difference, 's': each}
    print(f'| {name} | {miou:.2%} | {same.share:.4%} | {same.difference:.2g} | {each:.3f} |')
  print(f'{min(limit, len(val))} images of {shape[0]}×{shape[1]}')
  return report


def main(arguments: Sequence[str] | None = None) -> None:
  """Parses the command line, measures and prints."""
  parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
  parser.add_argument('--sizes', type=lambda x: [int(s) for s in x.split(',')], default=[473, 713])
  parser.add_argument('--depth', type=int, default=50)
  parser.add_argument('--width', type=int, default=64)
  parser.add_argument('--num_classes', type=int, default=150)
  parser.add_argument('--rounds', type=int, default=15)
  parser.add_argument('--threads', type=int, default=len(os.sched_getaffinity(0)))
  parser.add_argument('--workdir', type=Path, help='scores its files instead of taking times')
  parser.add_argument('--root', type=Path, help='of its data, if these have moved')
  parser.add_argument(
    '--int8', action='store_true', help='scores an int8 file instead of StableHLO'
  )
  parser.add_argument('--limit', type=int, default=0, help='of validation images')
  parser.add_argument('--json', type=Path)
  flags = parser.parse_args(arguments)
  report = scores(flags) if flags.workdir else times(flags)
  if flags.json:
    write_whole(flags.json, json.dumps(report, indent=1) + '\n')


if __name__ == '__main__':
  main()
