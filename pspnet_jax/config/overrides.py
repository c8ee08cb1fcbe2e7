"""Settings on the command line: which one was meant, and all of them as flags."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterable, Iterator
from typing import Any

import ml_collections

from pspnet_jax import errors
from pspnet_jax.errors import UserError

# What other projects call our settings, where the letters do not lead there.
SYNONYMS = {
  'backbone': 'depth',
  'bs': 'batch_size',
  'crop': 'crop_size',
  'epochs': 'total_steps',
  'image_size': 'crop_size',
  'iterations': 'total_steps',
  'layers': 'depth',
  'learning_rate': 'base_lr',
  'lr': 'base_lr',
  'max_iter': 'total_steps',
  'max_steps': 'total_steps',
  'num_workers': 'threads',
  'pretrained': 'init_from',
  'precision': 'dtype',
  'steps': 'total_steps',
  'wd': 'weight_decay',
  'workers': 'threads',
}


_WORD = re.compile(r'[A-Za-z_][\w./:-]*')  # also package.module:Name and backbone/stage1


def close(name: str, names: Iterable[str]) -> str | None:
  """The one of `names` that `name` stands for: a synonym, or else the nearest in letters."""
  names = list(names)
  if SYNONYMS.get(name) in names:
    return SYNONYMS[name]
  return errors.nearest(name, names)


def paths(config: ml_collections.ConfigDict) -> Iterator[tuple[str, Any]]:
  """Every setting such as ('optimizer.base_lr', 0.01), in the order it was defined."""
  for key in config:
    value = config[key]
    if isinstance(value, ml_collections.ConfigDict):
      yield from ((f'{key}.{name}', x) for name, x in paths(value))
    else:
      yield key, value


def same_name(config: ml_collections.ConfigDict, key: str) -> str | None:
  """The setting that has the last name of `key`, or what that is a synonym for, in any group."""
  group, _, name = key.rpartition('.')
  known = [path for path, _ in paths(config)]
  for wanted in (name, SYNONYMS.get(name)):
    groups = {path.rpartition('.')[0]: path for path in known if path.rpartition('.')[2] == wanted}
    if near := difflib.get_close_matches(group, groups, n=1):
      return groups[near[0]]
    if groups:
      return min(groups.values(), key=lambda path: path.count('.'))
  return None


def nearest(config: ml_collections.ConfigDict, key: str) -> str | None:
  """The setting that was probably meant by `key`, which does not exist."""
  if found := same_name(config, key):
    return found
  group, _, name = key.rpartition('.')
  of_group = {x.rpartition('.')[2]: x for x, _ in paths(config) if x.rpartition('.')[0] == group}
  if of_group:
    near = close(name, of_group)
    return None if near is None else of_group[near]
  return close(key, (path for path, _ in paths(config)))


def check(config: ml_collections.ConfigDict, key: str, value: str) -> None:
  """Raises UserError, with the nearest one, unless `key` is a setting; `value` is '=VALUE'."""
  node: Any = config
  for i, name in enumerate(names := key.split('.')):
    if not isinstance(node, ml_collections.ConfigDict):
      raise UserError(f'--config.{key}{value}: {".".join(names[:i])} has no keys of its own.')
    if name not in node:
      near = nearest(config, key)
      hint = f'did you mean --config.{near}{value}?' if near else '--settings lists all there are.'
      raise UserError(f'there is no setting --config.{key}: {hint}')
    node = node[name]


def is_switch(config: ml_collections.ConfigDict, key: str) -> bool:
  """Whether --config.KEY stands for True without a value."""
  *groups, name = key.split('.')
  for group in groups:
    config = config[group]
  return config.get_type(name) in (bool, object)


def words_quoted(config: ml_collections.ConfigDict, key: str, value: str) -> str:
  """The value of a setting that holds several, with quotes around each if they are words.

  `frozen=backbone,pyramid` is what one types, and `frozen=('backbone', 'pyramid')` what is parsed.
  """
  *groups, name = key.split('.')
  for group in groups:
    config = config[group]
  words = value.removesuffix(',').split(',')
  if config.get_type(name) is tuple and all(_WORD.fullmatch(word) for word in words):
    return str(tuple(words))
  return value


def as_flags(config: ml_collections.ConfigDict) -> Iterator[str]:
  """A line for each setting: the flag that gives it the value it has."""
  for path, value in paths(config):
    if value is None:
      yield f'--config.{path}  (not set)'
    else:
      yield f'--config.{path}={_quoted(value)}'


def _quoted(value: Any) -> str:
  if isinstance(value, tuple):
    plain = value and all(isinstance(x, int | float) for x in value)
    return ','.join(map(str, value)) + ',' * (len(value) == 1) if plain else shlex.quote(str(value))
  return shlex.quote(str(value)) if value != '' else "''"
