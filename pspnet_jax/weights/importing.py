"""Turns files of another implementation into a network of ours with its card."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from pspnet_jax.data.known_classes import known_classes, numbered_classes
from pspnet_jax.data.spec import DatasetSpec, default_palette
from pspnet_jax.errors import UserError
from pspnet_jax.inference.card import Card
from pspnet_jax.models.network import Arrays
from pspnet_jax.runtime import streams
from pspnet_jax.weights.checkpoints import Checkpoints
from pspnet_jax.weights.foreign import reading, recognise
from pspnet_jax.weights.foreign.name_table import NamedArrays
from pspnet_jax.weights.foreign.origin import CONVENTIONS, Origin


@dataclasses.dataclass(frozen=True)
class ForeignWeights:
  """Arrays by our names and in our layout; `meta` is what mmseg writes beside them."""

  origin: Origin
  arrays: NamedArrays
  meta: Mapping[str, Any]
  where: str  # the files' names, for messages


@dataclasses.dataclass(frozen=True)
class Converted:
  """A whole network."""

  card: Card
  params: Arrays
  batch_stats: Arrays

  def describe(self) -> str:
    """Says what was recognised, a line for each kind of fact."""
    card, network = self.card, self.card.network
    count = sum(math.prod(x.shape) for x in self.params.values())
    aux = 'an auxiliary head' if network['aux_head'] else 'no auxiliary head'
    stem, names = network['stem_channels'], card.spec.class_names
    source = card.source or {}
    known = (name for name in (*CONVENTIONS, 'dropout_kind') if network.get(name) is not None)
    conventions = ', '.join(f'{name}={network[name]}' for name in known)
    return (
      f'{source.get("name")}: PSPNet-{network["depth"]}, {count:,} parameters with {aux}.\n'
      f'Stem {"-".join(map(str, stem))} ({"3×3" if len(stem) > 1 else "7×7"}), width '
      f'{network["width"]}, head {network["head_channels"]}.\n'
      f'{len(names)} classes: {", ".join(names[:3])}{", ..." if len(names) > 3 else ""}.\n'
      f'Conventions: {conventions}; RGB mean {card.mean}, std {card.std}.'
    )


def read_weights(paths: Sequence[Path], source_name: str | None = None) -> ForeignWeights:
  """Reads files that together hold one network, or an ImageNet backbone.

  Raises:
    UserError: if a file cannot be read, its source is unknown, or an array belongs to no layer.
  """
  tensors: NamedArrays = {}
  meta: Mapping[str, Any] = {}
  for path in paths:
    more, its_meta = reading.read(path)
    more = _without_prefix(more, 'module.')
    twice = tensors.keys() & more.keys()
    if twice:
      raise UserError(f'{path} and the files before it both hold {min(twice)}: give one of them.')
    tensors |= more
    meta = meta or its_meta
  where = ' and '.join(map(str, paths))
  origin = recognise.origin_of(tensors, where, source_name)
  return ForeignWeights(origin, origin.table.to_ours(tensors, where), meta, where)


def convert(
  paths: Sequence[Path],
  *,
  source: str | None = None,
  align_corners: bool | None = None,
  output_stride: int = 8,
  classes: DatasetSpec | None = None,
) -> Converted:
  """Reads the network that files of another implementation hold.

  Args:
    paths: one file, or MIT's encoder and decoder.
    source: a name of `recognise.NAMES`; None looks at the keys.
    align_corners: None is the source's own; mmseg's 769×769 configs need True.
    output_stride: no shape tells it; 8 in almost all published networks.
    classes: None takes the file's, those of the data set with as many, or numbers them.

  Raises:
    UserError: for whatever the user can mend; it names the file and the key.
  """
  weights = read_weights(paths, source)
  conventions = weights.origin.conventions
  if conventions is None:
    raise UserError(
      f'{weights.where} is an ImageNet backbone without a head: train from it with '
      '--config.init_from, or give a whole PSPNet.'
    )
  network = recognise.network_of(weights.arrays, weights.origin, weights.where)
  num_classes = network['num_classes']
  known = conventions(network['depth'], num_classes, align_corners, output_stride)
  spec = classes or _own_classes(weights.meta, num_classes)
  if spec.num_classes != num_classes:
    raise UserError(
      f'{weights.where} has {num_classes} classes, and {spec.num_classes} names were given: give '
      'one name a class.'
    )
  card = Card(
    network={**network, **known.network, 'output_stride': output_stride},
    spec=spec,
    crop_size=known.crop_size,
    protocol=known.protocol,
    mean=known.mean,
    std=known.std,
    source={
      'name': weights.origin.name,
      'files': {path.name: f'sha256:{_sha256(path)}' for path in paths},
    },
  )
  built = card.build_network()
  shapes = built.param_shapes | built.batch_stat_shapes
  recognise.check_arrays(shapes, weights.arrays, weights.origin, weights.where)
  return Converted(
    card,
    {name: jnp.asarray(weights.arrays[name]) for name in built.param_shapes},
    {name: jnp.asarray(weights.arrays[name]) for name in built.batch_stat_shapes},
  )


def classes_of(weights: ForeignWeights, num_classes: int) -> DatasetSpec:
  """The classes that a file names, or those of the data set with as many, or their numbers."""
  return _own_classes(weights.meta, num_classes)


def check_is_new(output: Path) -> None:
  """Raises UserError if the folder has checkpoints: they are never written over."""
  if (output / 'checkpoints').exists():
    raise UserError(f'{output} holds checkpoints already: name another folder with --output.')


def write(converted: Converted, output: Path) -> None:
  """Says what the network is and makes it checkpoint 0 of the new folder `output`."""
  streams.show(converted.describe())
  checkpoints = Checkpoints(output)
  items = {'params': converted.params, 'batch_stats': converted.batch_stats}
  checkpoints.save(0, items, converted.card)
  checkpoints.close()
  streams.show(f'Written to {output}: predict with --workdir={output}, or train from it with')
  streams.show(f'--config.init_from={output}.')


def _own_classes(meta: Mapping[str, Any], num_classes: int) -> DatasetSpec:
  """The classes that mmseg wrote into the file, else those of the data set with as many."""
  of_data_set = meta.get('dataset_meta') or {}
  names = meta.get('CLASSES') or of_data_set.get('classes') or ()
  palette = meta.get('PALETTE') or of_data_set.get('palette') or default_palette(len(names))
  if len(names) == num_classes and len(palette) == num_classes:
    colours = [tuple(int(value) for value in colour) for colour in palette]
    return DatasetSpec(tuple(map(str, names)), tuple((r, g, b) for r, g, b in colours))
  return known_classes(num_classes) or numbered_classes(num_classes)


def _without_prefix(tensors: NamedArrays, prefix: str) -> NamedArrays:
  """Names as they were before torch's DataParallel wrapped the model."""
  if not all(key.startswith(prefix) for key in tensors):
    return tensors
  return {key.removeprefix(prefix): x for key, x in tensors.items()}


def _sha256(path: Path) -> str:
  with path.open('rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()
