"""Starting a training run from weights: of a run, of a conversion, or of a foreign file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from pspnet_jax.data.known_classes import numbered_classes
from pspnet_jax.data.same_classes import alike, is_numbered
from pspnet_jax.errors import UserError
from pspnet_jax.inference.card import PSPNET, Card
from pspnet_jax.models.network import Arrays
from pspnet_jax.runtime import paths, storage
from pspnet_jax.weights import catalogue, folders, published
from pspnet_jax.weights.foreign.origin import CONVENTIONS
from pspnet_jax.weights.foreign.recognise import depth_of
from pspnet_jax.weights.importing import classes_of, read_weights

# What depends on the number of classes, and nothing else does.
_CLASSIFIERS = ('classifier/conv/', 'aux_head/classifier/conv/')


def start_from(
  location: str, card: Card, params: Arrays, batch_stats: Arrays
) -> tuple[Arrays, Arrays, list[str]]:
  """Fills a new network by name.

  Classifiers of other classes, by their number or their names, stay as they are in `params`; so do
  all heads where the file is an ImageNet backbone. Classifiers of the same classes in another order
  are put into this one. Anything else has to match.

  Args:
    location: a folder with checkpoints or a packed one, an address of the Hub, a file that
      `read_weights` reads, or several, with commas; or else the name of published weights.
    card: of what is to be trained.
    params, batch_stats: its initial values.

  Returns:
    Parameters, batch statistics, and what the user should know, a sentence each.

  Raises:
    UserError: for whatever does not match; it names the array and the remedy.
  """
  found = _read(location)
  given, made_with = found.arrays, found.made_with
  backbone_only = all(name.startswith('backbone/') for name in given)
  ours = {**params, **batch_stats}
  order, about_classes = (None, []) if backbone_only else _order(found, card)
  other_classes = order is None and bool(about_classes)

  def is_fresh(name: str) -> bool:
    if backbone_only and not name.startswith('backbone/'):
      return True
    there, here = getattr(given.get(name), 'shape', ()), ours[name].shape
    return (
      name.startswith(_CLASSIFIERS)
      and len(there) == len(here)
      and (there[:-1] == here[:-1] and (there != here or other_classes))
    )

  fresh = {name for name in ours if is_fresh(name)}
  for name in sorted((ours.keys() | given.keys()) - fresh):
    there, here = (tuple(x[name].shape) if name in x else 'absent' for x in (given, ours))
    if there != here:
      raise UserError(
        f'init_from={location}: {name} is {there} there and {here} in this network: make '
        f'config.model fit the weights ({_settings_of(name, card, made_with)}).'
      )
  notes = [f'Starting from {location}{found.which}.', *found.notes, *about_classes]
  for key, there in made_with.items():
    here = _value(card, key)
    if here != there and (here is not None or key == 'dilations'):
      notes.append(f'It was made with {key}={there}, and here it is {here}.')
  if fresh:
    layers = sorted({name.rsplit('/', 1)[0] for name in fresh})
    what = 'all but the backbone' if backbone_only else ', '.join(layers)
    notes.append(f'Not taken from there, but fresh: {what}.')

  def taken(name: str) -> np.ndarray:
    x = np.asarray(given[name])
    return x[..., order] if order is not None and name.startswith(_CLASSIFIERS) else x

  # Copies: the training step gives away the buffers of its state. By way of NumPy: arrays that
  # were restored onto a device of this process cannot move onto a mesh of several processes.
  filled: Arrays = {n: x if n in fresh else jnp.array(taken(n)) for n, x in ours.items()}
  new_params = {name: filled[name] for name in params}
  return new_params, {name: filled[name] for name in batch_stats}, notes


@dataclasses.dataclass(frozen=True)
class _Found:
  """Arrays by name, the settings they were made with, and names of the classes, if known."""

  arrays: Mapping[str, Any]
  made_with: Mapping[str, Any]
  class_names: tuple[str, ...] | None = None
  notes: tuple[str, ...] = ()  # of the reading, a sentence each
  which: str = ''  # of the parameters there are; see `loaded.Loaded.kind`


def _read(location: str) -> _Found:
  if storage.is_address(location) or paths.given(location).is_dir():
    return _from_folder(location)
  entry = catalogue.named(location)
  if entry is None:
    return _from_files(location)
  if entry.is_backbone:
    found = _from_files(str(published.fetch(entry)))
    return dataclasses.replace(found, notes=(*found.notes, *published.cautions(entry)))
  converted = published.load(entry)
  card = converted.card
  arrays = {**converted.params, **converted.batch_stats}
  return _Found(arrays, _made_with(card), card.spec.class_names, converted.notes)


def _from_folder(location: str) -> _Found:
  """Arrays of the best checkpoint."""
  found = folders.load(location, 'best')
  arrays = {**found.params, **found.batch_stats}
  names = found.card.spec.class_names
  return _Found(arrays, _made_with(found.card), names, which=found.kind)


def _from_files(location: str) -> _Found:
  weights = read_weights([paths.given(path) for path in location.split(',')])
  conventions, classifier = weights.origin.conventions, weights.arrays.get('classifier/conv/kernel')
  if conventions is None or classifier is None:
    return _Found(weights.arrays, {'avg_down': weights.origin.avg_down}, notes=weights.notes)
  depth, num_classes = depth_of(weights.arrays, weights.where), classifier.shape[-1]
  known = conventions(depth, num_classes, None, 8)
  if weights.written is not None:
    known = weights.written.conventions
  made_with = {key: value for key, value in known.network.items() if key in CONVENTIONS}
  made_with |= {'mean': known.mean, 'std': known.std}
  spec, _ = classes_of(weights, num_classes)
  return _Found(weights.arrays, made_with, spec.class_names, weights.notes)


def _order(found: _Found, card: Card) -> tuple[list[int] | None, list[str]]:
  """Where each of our classes stands among theirs, and what to say of it.

  No order and no word: their number differs. No order, and a sentence: they are other classes.
  """
  here, there = card.spec.class_names, found.class_names
  classifiers = [x for name, x in found.arrays.items() if name.startswith(_CLASSIFIERS)]
  if there is None and classifiers:
    there = numbered_classes(classifiers[0].shape[-1]).class_names
  if there is None or len(there) != len(here):
    return None, []
  same = list(range(len(here)))
  if there == here:
    return same, []
  if is_numbered(there) or is_numbered(here):
    return same, [
      'The names of its classes are not known, and their number is the same: its classifiers were '
      'taken as they are.'
    ]
  theirs, ours = alike(there, here)
  if theirs == ours:
    return same, []
  both = f'Its classes are {_in_order(there)}, and here they are {_in_order(here)}'
  if set(theirs) == set(ours):
    order = [theirs.index(name) for name in ours]
    return order, [f'{both}: its classifiers were put into this order.']
  if not classifiers:
    return same, [f'{both}: all arrays were taken as they are.']
  return None, [f'{both}: the classifiers begin anew.']


def _in_order(names: Sequence[str], limit: int = 20) -> str:
  """Names with commas, the first of very many."""
  more = f', ... ({len(names)} in all)' if len(names) > limit else ''
  return ', '.join(names[:limit]) + more


def _made_with(card: Card) -> dict[str, Any]:
  values = {key: _value(card, key) for key in ('name', *CONVENTIONS, 'mean', 'std')}
  known = {key: value for key, value in values.items() if value is not None}
  is_pspnet = card.network.get('name', PSPNET) == PSPNET
  return {'avg_down': False, **known} if is_pspnet else known  # older cards have not this option


def _value(card: Card, key: str) -> Any:
  return getattr(card, key) if key in ('mean', 'std') else card.network.get(key)


def _settings_of(name: str, card: Card, made_with: Mapping[str, Any]) -> str:
  """The keys of config.model that decide on an array."""
  networks = {card.network.get('name', PSPNET), made_with.get('name', PSPNET)}
  part = name.partition('/')[0]
  if networks != {PSPNET} and part != 'backbone':
    return f'name: {" and ".join(sorted(map(str, networks)))}'
  if part == 'aux_head':
    return 'aux_head, aux_channels'
  if name.startswith('backbone/stem'):
    return 'stem_channels'
  if part == 'backbone':
    return 'depth, width'
  return 'bins, reduce_dimension, pyramid_channels, head_channels'
