"""Every source at full size: our logits beside those of its authors' network.

  python -m tests.weights.full_size [CASE ...]

prints a Markdown table. In float64 a difference is no rounding. With PSPNET_UPSTREAM=DIR the
networks are those of the authors' own code instead of ours after it; upstream.py says what has to
lie in DIR.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import jax
import numpy as np
import torch

from pspnet_jax.models.network import Network
from pspnet_jax.ops.images import normalize
from pspnet_jax.weights import exporting, importing
from tests.weights import caffe_files, rebuilt, rebuilt_more

AUTHORS = {
  'semseg': rebuilt.Semseg,
  'mmseg': rebuilt.Mmseg,
  'mit': rebuilt.Mit,
  'caffe': caffe_files.Caffe,
  'paddleseg': rebuilt_more.Paddle,
  'gluoncv': rebuilt_more.Gluon,
  'sssegmentation': rebuilt_more.Sssegmentation,
}


@dataclasses.dataclass(frozen=True)
class Case:
  """A published network; `options` are the author's, `flags` those that convert has to be given."""

  source: str
  depth: int
  num_classes: int
  size: tuple[int, int]
  options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  flags: Mapping[str, Any] = dataclasses.field(default_factory=dict)


_ALIGNED = {'align_corners': True}
_WIDE = (512, 1024)
CASES = {
  'semseg-50': Case('semseg', 50, 150, (473, 473)),
  'semseg-101-voc': Case('semseg', 101, 21, (473, 473)),
  'semseg-101-cityscapes': Case('semseg', 101, 19, (713, 713)),
  'semseg-152': Case('semseg', 152, 150, (473, 473)),
  'semseg-269': Case('semseg', 269, 150, (241, 241)),  # not published, but built and written
  'mmseg-50': Case('mmseg', 50, 150, (512, 512)),
  'mmseg-101': Case('mmseg', 101, 150, (512, 512)),
  'mmseg-101-cityscapes': Case('mmseg', 101, 19, _WIDE),
  'mmseg-50-769': Case('mmseg', 50, 19, (769, 769), _ALIGNED, _ALIGNED),
  'mmseg-101-769': Case('mmseg', 101, 19, (769, 769), _ALIGNED, _ALIGNED),
  'mmseg-18': Case('mmseg', 18, 19, _WIDE),
  'mmseg-18b': Case('mmseg', 18, 19, _WIDE, {'stem': '7x7'}),
  'mmseg-50b': Case('mmseg', 50, 19, _WIDE, {'stem': '7x7'}),
  'mmseg-50-d32': Case('mmseg', 50, 19, _WIDE, {'output_stride': 32}, {'output_stride': 32}),
  'mit-18': Case('mit', 18, 150, (456, 608)),
  'mit-50': Case('mit', 50, 150, (456, 608)),
  'mit-101': Case('mit', 101, 150, (456, 608)),
  'caffe-50': Case('caffe', 50, 150, (473, 473)),
  'caffe-101-voc': Case('caffe', 101, 21, (473, 473)),
  'caffe-101-cityscapes': Case('caffe', 101, 19, (713, 713)),
  'paddleseg-50': Case('paddleseg', 50, 21, (512, 512)),
  'paddleseg-101': Case('paddleseg', 101, 19, _WIDE),
  'gluoncv-50': Case('gluoncv', 50, 150, (480, 480)),
  'gluoncv-101': Case('gluoncv', 101, 21, (480, 480)),
  'sssegmentation-101': Case('sssegmentation', 101, 150, (512, 512)),
  'sssegmentation-50-16': Case(
    *('sssegmentation', 50, 19, _WIDE, {'output_stride': 16}, {'output_stride': 16})
  ),
}


@dataclasses.dataclass(frozen=True)
class Result:
  """The figures of one comparison.

  Args:
    error: largest difference of two logits, of the largest logit.
    differing: pixels with another argmax.
    gap: how far the two classes are apart there at most, of the largest logit.
    pixels: of the image.
    winners: classes that are the first somewhere.
    largest: share of the most frequent one.
  """

  error: float
  differing: int
  gap: float
  pixels: int
  winners: int
  largest: float


def draw(height: int, width: int) -> np.ndarray:
  """A picture uint8 [height, width, 3] of patches, coarse and fine."""
  rng, image = np.random.default_rng(7), np.full((height, width, 3), 120.0, np.float32)
  for cells, contrast in ((8, 40), (20, 25), (60, 15)):
    patches = rng.normal(size=(cells, cells, 3)).astype(np.float32)
    image += contrast * cv2.resize(patches, (width, height), interpolation=cv2.INTER_CUBIC)
  return image.clip(0, 255).astype(np.uint8)


def compare(
  case: Case,
  folder: Path,
  dtypes: Sequence[str] = ('float32',),
  kinds: Mapping[str, Any] = AUTHORS,
) -> tuple[list[Result], dict[str, float]]:
  """Writes the author's files, reads them, and runs both networks; exporting is checked too.

  Returns a result for each dtype, and the seconds that each thing took.
  """
  image, seconds = draw(*case.size), {}

  def timed(what, function, *arguments):
    start = time.perf_counter()
    result = jax.block_until_ready(function(*arguments))
    seconds[what] = time.perf_counter() - start
    return result

  theirs = kinds[case.source](case.depth, case.num_classes, **case.options)
  paths = theirs.fill(image).write(folder)
  converted = timed('convert', lambda: importing.convert(paths, **case.flags))
  card = converted.card
  assert (card.source['name'], card.network['depth']) == (case.source, case.depth)
  if case.source in exporting.FORMATS:
    check_export(converted, theirs, case.source)
  results = []
  for dtype in dtypes:
    with jax.enable_x64(dtype == 'float64'):
      network = Network(**card.network, dtype=dtype)
      params, batch_stats = (
        {name: x.astype(dtype) for name, x in part.items()}
        for part in (converted.params, converted.batch_stats)
      )
      x = normalize(image[None].astype(dtype), card.mean, card.std, dtype)
      run = timed(f'compile {dtype}', jax.jit(network.apply).lower(params, batch_stats, x).compile)
      outputs, _ = timed(f'ours {dtype}', run, params, batch_stats, x)
      ours = np.asarray(outputs['logits'][0])
    their_logits = timed(f'theirs {dtype}', theirs.logits, image, getattr(torch, dtype))
    results.append(measure(ours, their_logits))
  return results, seconds


def check_export(converted, theirs, source) -> None:
  """What was read is written again bit for bit."""
  (content,) = theirs.files().values()
  state = {k.removeprefix('module.'): x for k, x in content['state_dict'].items()}
  written = exporting.state_dict({**converted.params, **converted.batch_stats}, source)
  assert written.keys() == {k for k in state if not k.endswith('num_batches_tracked')}
  for key, x in written.items():
    assert x.tobytes() == state[key].numpy().tobytes() and x.shape == tuple(state[key].shape), key


def measure(ours: np.ndarray, theirs: np.ndarray) -> Result:
  assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
  scale = np.abs(theirs).max()
  label, their_label = ours.argmax(-1), theirs.argmax(-1)
  other = label != their_label
  gap = np.ptp(
    [np.take_along_axis(theirs, x[..., None], -1)[other] for x in (label, their_label)], axis=0
  )
  counts = np.bincount(their_label.ravel())
  return Result(
    error=float(np.abs(ours - theirs).max() / scale),
    differing=int(other.sum()),
    gap=float(gap.max(initial=0) / scale),
    pixels=label.size,
    winners=int((counts > 0).sum()),
    largest=float(counts.max() / label.size),
  )


def main(names: list[str]) -> None:
  kinds = AUTHORS
  if folder := os.environ.get('PSPNET_UPSTREAM'):
    from tests.weights import upstream

    kinds = upstream.authors(Path(folder))
  print(
    '| network | classes | input | error, float32 | argmax differs | error, float64 | argmax '
    'differs | classes that win | seconds |'
  )
  print('|---|---|---|---|---|---|---|---|---|')
  for name in names or CASES:
    case = CASES[name]
    if case.source not in kinds or (kinds is not AUTHORS and case.depth == 269):
      continue  # 269 is not in semseg's code
    with tempfile.TemporaryDirectory() as files:
      (single, double), seconds = compare(case, Path(files), ('float32', 'float64'), kinds)
    ties = f', {single.gap:.0e} apart' if single.differing else ''
    print(
      f'| {name} | {case.num_classes} | {case.size[0]}×{case.size[1]} '
      f'| {single.error:.1e} | {single.differing} of {single.pixels:,}{ties} '
      f'| {double.error:.1e} | {double.differing} '
      f'| {double.winners}, {double.largest:.0%} at most '
      f'| {", ".join(f"{what} {s:.1f}" for what, s in seconds.items())} |',
      flush=True,
    )


if __name__ == '__main__':
  torch.set_num_threads(os.cpu_count() or 1)
  main(sys.argv[1:])
