"""Evaluation by windows, scales and flips beside semseg's loop in PyTorch: images a second."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from benchmarks import device
from benchmarks.semseg_evaluation import Evaluation
from benchmarks.timing import Program, summary
from pspnet_jax.data.palettes import default_palette
from pspnet_jax.data.spec import IMAGENET_MEAN, IMAGENET_STD, DatasetSpec
from pspnet_jax.inference.card import Card
from pspnet_jax.inference.engine import Inference
from pspnet_jax.inference.protocol import MULTI_SCALE, SEMSEG
from pspnet_jax.models.network import Network
from pspnet_jax.weights import exporting
from tests.torch_pspnet import TorchPSPNet

CAMVID = (360, 480)  # height and width of its images
FORMATS = {'eager': torch.contiguous_format, 'channels_last': torch.channels_last}
COLUMNS = ('program', 's an image', 'middle half', 'images/s', 'ours / this', 'labels differ')


@dataclasses.dataclass(frozen=True)
class Case:
  """An evaluation.

  Args:
    depth, crop, num_classes: of the network.
    times: size of the images, in CamVid's.
    multi_scale: six scales; else the image at its own size.
    images: in a run.
    batch: windows that ours runs together; None: its default.
  """

  depth: int = 50
  crop: int = 473
  num_classes: int = 11
  times: int = 1
  multi_scale: bool = False
  images: int = 1
  batch: int | None = None

  def __str__(self) -> str:
    height, width = (self.times * side for side in CAMVID)
    scales = 'six scales' if self.multi_scale else 'one scale'
    return (
      f'evaluation, PSPNet-{self.depth}, images of {width}×{height}, windows of {self.crop}², '
      f'{self.num_classes} classes, {scales} with flip'
    )


def measure(case: Case, ways: Sequence[str], rounds: int, platform: str) -> dict[str, Any]:
  """Ours and PyTorch's loop in turn, with the same weights on the same images.

  The loop runs eagerly: of `ways`, memory formats count.
  """
  ways = [way for way in ways if way in FORMATS]
  where = device.of_torch(platform) if ways else ''
  height, width = (case.times * side for side in CAMVID)
  scales = MULTI_SCALE if case.multi_scale else (1.0,)
  network = Network(case.num_classes, depth=case.depth, aux_head=False)
  spec = DatasetSpec(
    tuple(f'class_{i}' for i in range(case.num_classes)), default_palette(case.num_classes)
  )
  protocol = dataclasses.replace(SEMSEG, base_size=(width,), scales=scales)
  card = Card(
    network=network.options, spec=spec, crop_size=(case.crop, case.crop), protocol=protocol
  )
  params, batch_stats = network.init(0)
  images = [_scene(height, width, seed) for seed in range(case.images)]
  inference = Inference(network, card, batch_size=case.batch)
  weights = inference.prepare(params, batch_stats)
  labels: dict[str, list[np.ndarray]] = {}

  def ours() -> None:
    found = inference.labels(weights, enumerate(images))
    labels['pspnet_jax'] = [np.asarray(label)[:height, :width] for _, label in found]

  options: dict[str, Any] = {
    'crop': case.crop,
    'base_size': width,
    'scales': scales,
    'mean': IMAGENET_MEAN,
    'std': IMAGENET_STD,
  }
  programs = {'pspnet_jax': Program(ours, lambda: None)}
  for way in ways:
    name, memory_format = f'torch {way}', FORMATS[way]
    model = TorchPSPNet(case.num_classes, depth=case.depth, aux_head=False).eval()
    tensors = exporting.state_dict(params | batch_stats, 'semseg')
    model.load_state_dict({k: torch.from_numpy(x.copy()) for k, x in tensors.items()}, strict=False)
    loop = Evaluation(
      model.to(where, memory_format=memory_format), memory_format=memory_format, **options
    )

    def theirs(loop: Evaluation = loop, name: str = name) -> None:
      labels[name] = [loop(image) for image in images]

    programs[name] = Program(theirs, lambda: None)

  for program in programs.values():
    program.seconds()  # compiles
  turns = [{name: program.seconds() for name, program in programs.items()} for _ in range(rounds)]
  seconds = {name: [turn[name] for turn in turns] for name in programs}
  results = {}
  for name, times in seconds.items():
    found = summary([x / case.images for x in times])
    pairs = zip(labels[name], labels['pspnet_jax'], strict=True)
    differ = float(np.mean([(a != b).mean() for a, b in pairs]))
    results[name] = found | {'images_per_s': 1 / found['seconds'], 'labels_differ': differ}
  theirs = [v['seconds'] for name, v in results.items() if name != 'pspnet_jax']
  ratio = results['pspnet_jax']['seconds'] / min(theirs) if theirs else None
  return {'case': str(case), 'results': results, 'ratio_to_best_peer': ratio}


def rows(measured: dict[str, Any]) -> Iterator[list[str]]:
  """The case as rows of a table."""
  own = measured['results']['pspnet_jax']['seconds']
  for name, found in measured['results'].items():
    yield [
      name,
      f'{found["seconds"]:.2f}',
      f'{found["from"]:.2f}–{found["to"]:.2f}',
      f'{found["images_per_s"]:.3f}',
      '' if name == 'pspnet_jax' else f'{own / found["seconds"]:.2f}',
      f'{100 * found["labels_differ"]:.3f} %',
    ]


def _scene(height: int, width: int, seed: int) -> np.ndarray:
  """Something smooth with noise, uint8 [H, W, 3]."""
  rng = np.random.default_rng(seed)
  y, x = np.indices((height, width))
  waves = np.stack([np.sin(x / (40 + 9 * c) + seed) * np.cos(y / 50) for c in range(3)], -1)
  return (127 + 90 * waves + rng.integers(-30, 30, (height, width, 3))).astype(np.uint8)


def cases(
  depth: int,
  crop: int,
  num_classes: int,
  sizes: Sequence[int],
  scales: Sequence[int],
  platform: str,
) -> Iterator[Case]:
  """Images of `sizes` times CamVid's, at one scale and six; on an accelerator more at a time."""
  many = {} if platform == 'cpu' else {'images': 4, 'batch': 16}
  for count in scales:
    for times in sizes:
      yield Case(depth, crop, num_classes, times, multi_scale=count > 1, **many)
