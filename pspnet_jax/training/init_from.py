"""Starting a training run from weights: of a run, of a conversion, or of a foreign file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pspnet_jax.errors import UserError
from pspnet_jax.inference.card import PSPNET, Card
from pspnet_jax.models.network import Arrays
from pspnet_jax.runtime import paths
from pspnet_jax.weights import catalogue, published
from pspnet_jax.weights.checkpoints import Checkpoints
from pspnet_jax.weights.foreign.origin import CONVENTIONS
from pspnet_jax.weights.foreign.recognise import depth_of
from pspnet_jax.weights.importing import read_weights

# What depends on the number of classes, and nothing else does.
_CLASSIFIERS = ('classifier/conv/', 'aux_head/classifier/conv/')


def start_from(
  location: str, card: Card, params: Arrays, batch_stats: Arrays
) -> tuple[Arrays, Arrays, list[str]]:
  """Fills a new network by name.

  Classifiers of another number of classes stay as they are in `params`; so do all heads where the
  file is an ImageNet backbone. Anything else has to match.

  Args:
    location: a folder with checkpoints, a file that `read_weights` reads, or several, with commas;
      or else the name of published weights.
    card: of what is to be trained.
    params, batch_stats: its initial values.

  Returns:
    Parameters, batch statistics, and what the user should know, a sentence each.

  Raises:
    UserError: for whatever does not match; it names the array and the remedy.
  """
  given, made_with = _read(location)
  backbone_only = all(name.startswith('backbone/') for name in given)
  ours = {**params, **batch_stats}

  def is_fresh(name: str) -> bool:
    if backbone_only and not name.startswith('backbone/'):
      return True
    there, here = getattr(given.get(name), 'shape', ()), ours[name].shape
    return (
      name.startswith(_CLASSIFIERS)
      and len(there) == len(here)
      and (there[:-1] == here[:-1] and there != here)
    )

  fresh = {name for name in ours if is_fresh(name)}
  for name in sorted((ours.keys() | given.keys()) - fresh):
    there, here = (tuple(x[name].shape) if name in x else 'absent' for x in (given, ours))
    if there != here:
      raise UserError(
        f'init_from={location}: {name} is {there} there and {here} in this network: make '
        f'config.model fit the weights ({_settings_of(name, card, made_with)}).'
      )
  notes = [f'Starting from {location}.']
  for key, there in made_with.items():
    here = _value(card, key)
    if here != there and (here is not None or key == 'dilations'):
      notes.append(f'It was made with {key}={there}, and here it is {here}.')
  if fresh:
    layers = sorted({name.rsplit('/', 1)[0] for name in fresh})
    what = 'all but the backbone' if backbone_only else ', '.join(layers)
    notes.append(f'Not taken from there, but fresh: {what}.')
  # Copies: the training step gives away the buffers of its state. By way of NumPy: arrays that
  # were restored onto a device of this process cannot move onto a mesh of several processes.
  filled: Arrays = {
    n: x if n in fresh else jnp.array(np.asarray(given[n])) for n, x in ours.items()
  }
  new_params = {name: filled[name] for name in params}
  return new_params, {name: filled[name] for name in batch_stats}, notes


def _read(location: str) -> tuple[Mapping[str, Any], dict[str, Any]]:
  """Arrays, and the settings they were made with."""
  if (folder := paths.given(location)).is_dir():
    return _from_folder(folder)
  entry = catalogue.named(location)
  if entry is None:
    return _from_files(location)
  if entry.is_backbone:
    return _from_files(str(published.fetch(entry)))
  converted = published.load(entry)
  return {**converted.params, **converted.batch_stats}, _made_with(converted.card)


def _from_folder(location: Path) -> tuple[Mapping[str, jax.Array], dict[str, Any]]:
  """Arrays of the best checkpoint."""
  checkpoints = Checkpoints(location, read_only=True)
  step = checkpoints.step('best')
  card = checkpoints.card(step)
  params, batch_stats = checkpoints.weights(None, step)
  checkpoints.close()
  return {**params, **batch_stats}, _made_with(card)


def _from_files(location: str) -> tuple[Mapping[str, Any], dict[str, Any]]:
  weights = read_weights([paths.given(path) for path in location.split(',')])
  conventions, classifier = weights.origin.conventions, weights.arrays.get('classifier/conv/kernel')
  if conventions is None or classifier is None:
    return weights.arrays, {}
  depth = depth_of(weights.arrays, weights.where)
  known = conventions(depth, classifier.shape[-1], None, 8)
  made_with = {key: value for key, value in known.network.items() if key in CONVENTIONS}
  return weights.arrays, {**made_with, 'mean': known.mean, 'std': known.std}


def _made_with(card: Card) -> dict[str, Any]:
  values = {key: _value(card, key) for key in ('name', *CONVENTIONS, 'mean', 'std')}
  return {key: value for key, value in values.items() if value is not None}


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
