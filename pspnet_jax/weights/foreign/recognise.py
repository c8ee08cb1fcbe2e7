"""Recognises whose weights a file holds, by its keys, and which network, by names and shapes."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from pspnet_jax.errors import UserError
from pspnet_jax.models.resnet import DEPTHS
from pspnet_jax.weights.foreign import (
  caffe,
  gluoncv,
  imagenet,
  mit,
  mmseg,
  paddleseg,
  semseg,
  sssegmentation,
)
from pspnet_jax.weights.foreign.name_table import listed
from pspnet_jax.weights.foreign.origin import BINS, Origin

ORIGINS = (
  semseg.ORIGIN,
  *mmseg.ORIGINS,
  mit.ORIGIN,
  caffe.ORIGIN,
  paddleseg.ORIGIN,
  gluoncv.ORIGIN,
  sssegmentation.ORIGIN,
  paddleseg.BACKBONE,
  *imagenet.ORIGINS,
)
NAMES = tuple(dict.fromkeys(origin.name for origin in ORIGINS))
_DEPTHS = ', -'.join(map(str, DEPTHS))


def named(name: str | None) -> tuple[Origin, ...]:
  """The origins that `--source` calls so; all of them for None.

  Raises:
    UserError: if there are none.
  """
  origins = tuple(origin for origin in ORIGINS if name in (None, origin.name))
  if not origins:
    raise UserError(f'--source={name} is none of {", ".join(NAMES)}: change it.')
  return origins


def check_blocks(tensors: Mapping[str, np.ndarray], origin: Origin, where: str) -> None:
  """Raises UserError if the residual blocks, by torch's names, are those of another family."""
  family = _family(tensors, origin.avg_down)
  if family is not None:
    raise UserError(
      f'{where} is a {family}, which is none of the networks here: give weights of a plain '
      f'ResNet-{_DEPTHS}.'
    )


def _family(tensors: Mapping[str, np.ndarray], avg_down: bool) -> str | None:
  for name, tensor in tensors.items():
    block = re.fullmatch(r'(?:.*\.)?layer\d+\.\d+\.(.+)', name)
    if block is None:
      continue
    if re.match(r'(se|se_module)\.', block[1]):
      return f'ResNet with squeeze-and-excitation ({name})'
    if block[1] == 'downsample.1.weight' and tensor.ndim == 4 and not avg_down:
      return f'ResNet-d, whose shortcuts pool before they convolve ({name})'
    if block[1] != 'conv3.weight':
      continue
    middle, first = (tensors.get(name.replace('conv3', f'conv{i}')) for i in (2, 1))
    if middle is None or first is None or {middle.ndim, first.ndim, tensor.ndim} != {4}:
      continue
    if middle.shape[1] != first.shape[0]:
      groups = first.shape[0] // max(middle.shape[1], 1)
      return f'ResNeXt, whose 3×3 convolutions have {groups} groups'
    if tensor.shape[0] != 4 * middle.shape[0]:
      return f'Wide ResNet, whose blocks make {tensor.shape[0]} channels of {middle.shape[0]}'
  return None


def network_of(
  arrays: Mapping[str, np.ndarray], origin: Origin, where: str, bins: tuple[int, ...] = BINS
) -> dict[str, Any]:
  """The arguments of `Network` that shapes tell.

  Args:
    arrays: the file's arrays by our names.
    origin: has the names that messages give.
    where: what messages call the file.
    bins: of the pyramid; no shape tells them, only how many there are.

  Raises:
    UserError: if it is no whole PSPNet.
  """

  def out_channels(name: str) -> int:
    if name not in arrays:
      raise UserError(f'{where} lacks {origin.table.theirs(name)}: {_remedy(arrays, origin)}.')
    return arrays[name].shape[-1]

  width = out_channels('backbone/stage1/0/conv1/conv/kernel')
  depth = depth_of(arrays, where)
  options: dict[str, Any] = {
    'num_classes': out_channels('classifier/conv/kernel'),
    'stem_channels': tuple(
      out_channels(f'backbone/stem/convs/{i}/conv/kernel') for i in range(stem_length(arrays))
    ),
    'depth': depth,
    'width': width,
    'bins': bins,
    'head_channels': out_channels('bottleneck/kernel'),
    'aux_head': any(name.startswith('aux_head/') for name in arrays),
  }
  if (levels := _count(r'pyramid/reductions/(\d+)/', arrays)) != len(bins):
    raise UserError(
      f'{where} has {levels} pyramid levels, and for bins {bins} there are {len(bins)}: '
      f'{_remedy(arrays, origin)}.'
    )
  level = out_channels('pyramid/reductions/0/conv/kernel')
  expansion = 4 if DEPTHS[depth][0] else 1
  features = width * 8 * expansion
  if level * len(bins) != features:
    options['pyramid_channels'] = level
  if options['aux_head']:
    options['aux_channels'] = out_channels('aux_head/bottleneck/conv/kernel')
  return options


def stem_length(names: Collection[str]) -> int:
  """How many convolutions the stem has, 1 at least."""
  return max(_count(r'backbone/stem/convs/(\d+)/', names), 1)


def depth_of(arrays: Mapping[str, np.ndarray], where: str) -> int:
  """Tells the depth, a key of `DEPTHS`, by the numbers of blocks and of their convolutions."""
  found = [re.match(r'backbone/stage(\d+)/(\d+)/', name) for name in arrays]
  blocks = {(int(match[1]), int(match[2])) for match in found if match}
  counts = tuple(sum(stage == s for stage, _ in blocks) for s in (1, 2, 3, 4))
  bottleneck = any(re.match(r'backbone/stage\d+/\d+/conv3/', name) for name in arrays)
  for depth, kind in DEPTHS.items():
    if kind == (bottleneck, counts):
      return depth
  kind_name = 'bottleneck' if bottleneck else 'basic'
  raise UserError(
    f'{where} has {", ".join(map(str, counts))} {kind_name} blocks in its stages, which is no '
    f'ResNet-{_DEPTHS}: give a whole checkpoint of one of these.'
  )


def check_arrays(
  shapes: Mapping[str, Any], arrays: Mapping[str, np.ndarray], origin: Origin, where: str
) -> None:
  """Raises UserError unless `arrays` fills `shapes` exactly; it names the source's keys."""
  # Levels of the bottleneck's kernel are lacking only where the levels themselves are.
  lacking = (n for n in shapes.keys() - arrays.keys() if '/level_kernels/' not in n)
  missing = {origin.table.theirs(name) for name in lacking}
  if missing:
    raise UserError(f'{where} lacks {listed(missing)}: {_remedy(arrays, origin)}.')
  unused = {origin.table.theirs(name) for name in arrays.keys() - shapes.keys()}
  if unused:
    raise UserError(f'{where}: a network of this depth has no {listed(unused)}: give another file.')
  for name, wanted in shapes.items():
    if arrays[name].shape != wanted.shape:
      raise UserError(
        f'{where}: {origin.table.theirs(name)}, our {name}, has shape {arrays[name].shape} where '
        f'the other layers need {wanted.shape}: give an unchanged file.'
      )


def _count(pattern: str, names: Collection[str]) -> int:
  """One more than the highest number that `pattern` finds."""
  found = [re.match(pattern, name) for name in names]
  return 1 + max((int(match[1]) for match in found if match), default=-1)


def _remedy(arrays: Collection[str], origin: Origin) -> str:
  backbone = any(name.startswith('backbone/') for name in arrays)
  if origin.name == 'mit' and not (backbone and 'classifier/conv/kernel' in arrays):
    return 'give both files, as --input=ENCODER,DECODER'
  return 'it is not a whole checkpoint, so download it again or give another'
