"""Turns files of another implementation into a network of ours with its card."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from pspnet_jax.data.known_classes import (
  PASCAL_CONTEXT,
  PASCAL_CONTEXT_59,
  VOC2012,
  known_classes,
  numbered_classes,
)
from pspnet_jax.data.palettes import default_palette
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.errors import UserError
from pspnet_jax.inference.card import Card
from pspnet_jax.models.network import Arrays, Network
from pspnet_jax.runtime import streams
from pspnet_jax.weights import written_card
from pspnet_jax.weights.foreign import choosing, reading, recognise
from pspnet_jax.weights.foreign.name_table import NamedArrays, listed, shown
from pspnet_jax.weights.foreign.origin import BINS, CONVENTIONS, Origin
from pspnet_jax.weights.foreign.stored import StoredArray
from pspnet_jax.weights.written_card import WrittenCard


@dataclasses.dataclass(frozen=True)
class ForeignWeights:
  """Arrays by our names and in our layout.

  Attributes:
    meta: what mmseg writes beside them.
    written: what our own export writes beside them.
    where: the files' names, for messages.
    notes: what was chosen and what was left out, a sentence each.
  """

  origin: Origin
  arrays: NamedArrays
  meta: Mapping[str, Any]
  where: str
  written: WrittenCard | None = None
  notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Converted:
  """A whole network, and what the user should know about the reading of it."""

  card: Card
  params: Arrays
  batch_stats: Arrays
  notes: tuple[str, ...] = ()

  def describe(self) -> str:
    """Says what was recognised, a line for each kind of fact."""
    card, network = self.card, self.card.network
    count = sum(math.prod(x.shape) for x in self.params.values())
    aux = 'an auxiliary head' if network['aux_head'] else 'no auxiliary head'
    stem, names = network['stem_channels'], card.spec.class_names
    source = card.source or {}
    known = (name for name in (*CONVENTIONS, 'dropout_kind') if network.get(name) is not None)
    conventions = ', '.join(f'{name}={network[name]}' for name in known)
    return '\n'.join(
      (
        f'{source.get("name")}: PSPNet-{network["depth"]}, {count:,} parameters with {aux}.',
        f'Stem {"-".join(map(str, stem))} ({"3×3" if len(stem) > 1 else "7×7"}), width '
        f'{network["width"]}, head {network["head_channels"]}.',
        f'{len(names)} classes: {", ".join(names[:3])}{", ..." if len(names) > 3 else ""}.',
        f'Conventions: {conventions}; RGB mean {card.mean}, std {card.std}.',
        *self.notes,
      )
    )


def read_weights(
  paths: Sequence[Path], source_name: str | None = None, key: str | None = None
) -> ForeignWeights:
  """Reads files that together hold one network, or an ImageNet backbone.

  Args:
    paths: one file, or MIT's encoder and decoder.
    source_name: a name of `recognise.NAMES`; None looks at the arrays' names.
    key: which of several networks in a file; see `choosing.find`.

  Raises:
    UserError: if a file cannot be read, its source is unknown, an array belongs to no layer, or the
      backbone is none that `models.resnet` has.
  """
  tensors: NamedArrays = {}
  meta: Mapping[str, Any] = {}
  written: WrittenCard | None = None
  origins: list[Origin] = []
  notes: list[str] = []
  for path in paths:
    with reading.opened(path) as content:
      found = choosing.find(content, str(path), source_name, key)
      twice = tensors.keys() & found.arrays.keys()
      if twice:
        first = shown(min(twice))
        raise UserError(f'{path} and the files before it both hold {first}: give one of them.')
      tensors |= found.arrays
      origins.append(found.origin)
      notes += found.notes()
      its_meta = content.get('meta')
      meta = its_meta if isinstance(its_meta, Mapping) else meta
      if written_card.KEY in content:
        written = written_card.read(content[written_card.KEY], str(path))
  where = ' and '.join(map(str, paths))
  origin = next((origin for origin in origins if origin.conventions is not None), origins[0])
  recognise.check_blocks(tensors, origin, where)
  arrays = origin.table.to_ours(tensors, where)
  if origin.conventions is None:
    _check_backbone(arrays, origin, where)
  return ForeignWeights(origin, arrays, meta, where, written, tuple(notes))


def convert(
  paths: Sequence[Path],
  *,
  source: str | None = None,
  align_corners: bool | None = None,
  output_stride: int | None = None,
  classes: DatasetSpec | None = None,
  unnamed: DatasetSpec | None = None,
  key: str | None = None,
) -> Converted:
  """Reads the network that files of another implementation hold.

  Args:
    paths: one file, or MIT's encoder and decoder.
    source: a name of `recognise.NAMES`; None looks at the keys.
    align_corners: None is the source's own; mmseg's 769×769 configs need True.
    output_stride: no shape tells it; None is 8, as in almost all published networks.
    classes: None takes the file's, else `unnamed`.
    unnamed: the classes where the file names none; None, or another number than the network's:
      those of the data set with as many, or numbered ones.
    key: which of several networks in a file; see `choosing.find`.

  What our own export wrote beside the arrays goes before what the source does.

  Raises:
    UserError: for whatever the user can mend; it names the file and the key.
  """
  weights = read_weights(paths, source, key)
  conventions = weights.origin.conventions
  if conventions is None:
    raise UserError(
      f'{weights.where} is a backbone without the head of a PSPNet: train from it with '
      '--config.init_from, or give a whole PSPNet.'
    )
  written = weights.written
  told: Mapping[str, Any] = {} if written is None else written.conventions.network
  bins = tuple(told.get('bins', BINS))
  network = recognise.network_of(weights.arrays, weights.origin, weights.where, bins)
  num_classes = network['num_classes']
  stride = told.get('output_stride', 8) if output_stride is None else output_stride
  known = conventions(network['depth'], num_classes, align_corners, stride)
  if written is not None:
    asked = {} if align_corners is None else {'align_corners': align_corners}
    network_told = {**known.network, **told, **asked}
    known = dataclasses.replace(written.conventions, network=network_told)
  spec, spec_notes = (classes, ()) if classes else classes_of(weights, num_classes, unnamed)
  if spec.num_classes != num_classes:
    raise UserError(
      f'{weights.where} has {num_classes} classes, and {spec.num_classes} names were given: give '
      'one name a class.'
    )
  notes = (*weights.notes, *spec_notes)
  card = Card(
    network={**network, **known.network, 'output_stride': stride},
    spec=spec,
    crop_size=known.crop_size,
    protocol=known.protocol,
    mean=known.mean,
    std=known.std,
    source={
      'name': weights.origin.name,
      'files': {path.name: f'sha256:{_sha256(path)}' for path in paths},
      **({'notes': notes} if notes else {}),
    },
  )
  built = card.build_network()
  shapes = built.param_shapes | built.batch_stat_shapes
  recognise.check_arrays(shapes, weights.arrays, weights.origin, weights.where)
  return Converted(
    card,
    {name: jnp.asarray(weights.arrays[name]) for name in built.param_shapes},
    {name: jnp.asarray(weights.arrays[name]) for name in built.batch_stat_shapes},
    notes,
  )


def classes_of(
  weights: ForeignWeights, num_classes: int, unnamed: DatasetSpec | None = None
) -> tuple[DatasetSpec, tuple[str, ...]]:
  """The classes that stand in the file, else those that `convert` takes instead; and notes."""
  if weights.written is not None:
    return weights.written.spec, ()
  of_data_set = weights.meta.get('dataset_meta')
  of_data_set = of_data_set if isinstance(of_data_set, Mapping) else {}
  names = weights.meta.get('CLASSES') or of_data_set.get('classes')
  palette = weights.meta.get('PALETTE') or of_data_set.get('palette')
  instead = known_classes(num_classes) or numbered_classes(num_classes)
  if unnamed is not None and unnamed.num_classes == num_classes:
    instead = unnamed
  if names is None:
    return instead, ()
  if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
    return instead, ('The class names in its meta are no list of names: they are not taken.',)
  if len(names) != num_classes:
    note = f'Its meta names {len(names)} classes of {num_classes}: the names are not taken.'
    return instead, (note,)
  if (spec := _misnamed(tuple(names))) is not None:
    return spec, (
      "Its meta has Pascal Context's classes with VOC's first, and mmsegmentation's labels count "
      'them by the alphabet: they are named as the labels count.',
    )
  return DatasetSpec(tuple(names), _colours(palette, num_classes)), ()


def _misnamed(names: tuple[str, ...]) -> DatasetSpec | None:
  """Pascal Context as mmsegmentation's labels count it, if these are its class names.

  Its converter sorts ids (tools/dataset_converters/pascal_context.py), and the names of its
  networks stand in another order (mmseg/datasets/pascal_context.py; its issue 1940).
  """
  first = ['table' if name == 'diningtable' else name for name in VOC2012.class_names[1:]]
  for spec in (PASCAL_CONTEXT, PASCAL_CONTEXT_59):
    if set(names) == set(spec.class_names) and [x for x in names if x in first] == first:
      return spec
  return None


def check_is_new(output: Path) -> None:
  """Raises UserError if the folder has checkpoints: they are never written over."""
  if (output / 'checkpoints').exists():
    raise UserError(f'{output} holds checkpoints already: name another folder with --output.')


def write(converted: Converted, output: Path) -> None:
  """Says what the network is and makes it checkpoint 0 of the new folder `output`."""
  from pspnet_jax.weights.checkpoints import Checkpoints  # Orbax, which `convert` does without

  streams.show(converted.describe())
  items = {'params': converted.params, 'batch_stats': converted.batch_stats}
  with Checkpoints(output) as checkpoints:
    checkpoints.save(0, items, converted.card)
  streams.show(f'Written to {output}: predict with --workdir={output}, or train from it with')
  streams.show(f'--config.init_from={output}.')


def _check_backbone(arrays: NamedArrays, origin: Origin, where: str) -> None:
  """Raises UserError unless some depth, width and stem give a backbone of exactly these arrays."""
  depth = recognise.depth_of(arrays, where)
  names = [f'backbone/stem/convs/{i}/conv/kernel' for i in range(recognise.stem_length(arrays))]
  names.append('backbone/stage1/0/conv1/conv/kernel')
  if lacking := [origin.table.theirs(name) for name in names if name not in arrays]:
    raise UserError(f'{where} lacks {listed(lacking)}: give an unchanged file.')
  *stem, width = (arrays[name].shape[-1] for name in names)
  options: dict[str, Any] = {'bins': (), 'head_channels': 1, 'aux_head': False}
  network = Network(1, depth=depth, width=width, stem_channels=tuple(stem), **options)
  every = network.param_shapes | network.batch_stat_shapes
  shapes = {name: shape for name, shape in every.items() if name.startswith('backbone/')}
  recognise.check_arrays(shapes, arrays, origin, where)


def _colours(palette: Any, num_classes: int) -> tuple[tuple[int, int, int], ...]:
  """The colours of mmseg's meta; the usual ones if there are none, or not one a class."""
  if isinstance(palette, StoredArray) and palette.values is not None:
    palette = palette.read().tolist()
  try:
    colours = tuple((int(r), int(g), int(b)) for r, g, b in palette)
  except (TypeError, ValueError, OverflowError):
    return default_palette(num_classes)
  fits = len(colours) == num_classes and all(0 <= x <= 255 for colour in colours for x in colour)
  return colours if fits else default_palette(num_classes)


def _sha256(path: Path) -> str:
  with path.open('rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()
