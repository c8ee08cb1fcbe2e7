"""Paths in the config that a workdir keeps: they mean the same from every folder."""

from __future__ import annotations

import copy
import os
from collections.abc import Collection, Iterator
from pathlib import Path

import ml_collections

from pspnet_jax.config import named
from pspnet_jax.config.defaults import chosen
from pspnet_jax.config.signatures import paths_of
from pspnet_jax.errors import UserError
from pspnet_jax.runtime import paths, storage
from pspnet_jax.runtime.plain_text import printable
from pspnet_jax.weights import catalogue, packed


def absolute(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
  """A copy of a config whose paths begin at the root of the file system.

  Those that a source takes relative to another one stay as they are.
  """
  config = copy.deepcopy(config)
  for _, group, key in _of_data(config):
    group[key] = os.path.abspath(paths.given(group[key]))
  if config.get('init_from'):
    config.init_from = _absolute_weights(config.init_from)
  return config


def check(config: ml_collections.ConfigDict, saved: Path, given: Collection[str]) -> None:
  """Raises UserError for a path of the data that is not there, and that only a workdir names.

  A packed folder tells no place: what it keeps of a path may be the name of any folder here.

  Args:
    config: as it is used.
    saved: the file that it was read from.
    given: settings that flags have changed since.
  """
  for name, group, key in _of_data(config):
    if {name, f'data.{key}'} & {*given}:
      continue
    if packed.is_packed(saved.parent):
      raise UserError(
        f'{saved} does not say where on this machine the {name} is, only that it was called '
        f'{printable(group[key])}: give --config.{name}=FOLDER.'
      )
    if (path := paths.given(group[key])).exists():
      continue
    here = '' if path.is_absolute() else f', seen from {Path.cwd()}'
    raise UserError(
      f'{group[key]}, the {name} of {saved}, does not exist{here}: give --config.{name}=FOLDER, '
      'where it is now.'
    )


def _of_data(
  config: ml_collections.ConfigDict,
) -> Iterator[tuple[str, ml_collections.ConfigDict, str]]:
  """The settings of the data that are paths, each with the group and the key it stands under."""
  name = config.data.get('name')
  if not isinstance(name, str) or name.startswith(named.NOT_NAMED):
    return
  groups = {'data': config.data}
  groups |= {f'data.{split}': config.data.get(split) for split in ('train', 'val')}
  for path, group in groups.items():
    for key in paths_of(chosen('data', name)):
      if group is not None and isinstance(group.get(key), str) and group[key]:
        yield f'{path}.{key}', group, key


def _absolute_weights(location: str) -> str:
  """`init_from` with absolute paths; the name of published weights is none."""
  if storage.is_address(location):
    return location
  whole = paths.given(location)
  if not whole.is_dir() and catalogue.named(location) is not None:
    return location
  parts = [location] if whole.exists() else location.split(',')
  return ','.join(os.path.abspath(paths.given(part)) if part else part for part in parts)
