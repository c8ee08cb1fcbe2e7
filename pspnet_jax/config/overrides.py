"""Settings on the command line: which one was meant, and all of them as flags."""

from __future__ import annotations

import ast
import difflib
import shlex
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import ml_collections

from pspnet_jax import errors
from pspnet_jax.config.plain import plain
from pspnet_jax.errors import UserError
from pspnet_jax.runtime import annotated

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
  group, name = _place(config, key)
  return group.get_type(name) in (bool, object)


def give(config: ml_collections.ConfigDict, key: str, text: str) -> Any:
  """Sets what --config.KEY=TEXT says; returns the value.

  A setting of several values takes them with commas, `1,2,3` or `stem,stage1`, or as Python writes
  them, `((0,0,0),(128,0,0))`.

  Raises:
    UserError: for a value of another type, or a group of settings.
  """
  group, name = _place(config, key)
  kind = group.get_type(name)
  if isinstance(group[name], ml_collections.ConfigDict):
    inner = next((path for path, _ in paths(group[name])), 'KEY')
    raise UserError(
      f'--config.{key} is a group of settings: give them one by one, as --config.{key}.{inner}=.'
    )
  try:
    value = _READ.get(kind, _literal)(text)
    group[name] = value
  except (ValueError, TypeError, OverflowError) as e:
    wanted = annotated.described(kind)
    raise UserError(f'--config.{key}={text} is of the wrong type: give {wanted}.') from e
  return value


def _place(config: ml_collections.ConfigDict, key: str) -> tuple[ml_collections.ConfigDict, str]:
  *groups, name = key.split('.')
  for group in groups:
    config = config[group]
  return config, name


_BOOLS = {'true': True, 't': True, '1': True, 'false': False, 'f': False, '0': False}


def _bool(text: str) -> bool:
  if text.lower() not in _BOOLS:
    raise ValueError
  return _BOOLS[text.lower()]


def _int(text: str) -> int:
  try:
    return int(text)
  except ValueError:
    if float(text).is_integer():  # 3e4 steps
      return int(float(text))
    raise


def _tuple(text: str) -> tuple[Any, ...]:
  value = _literal(text)
  if isinstance(value, str) and text[:1] not in ('"', "'"):
    if set('()[]{}"\'') & {*text}:
      raise ValueError
    value = tuple(word.strip() for word in text.removesuffix(',').split(',')) if text else ()
  return value if isinstance(value, tuple) else (value,)


def _literal(text: str) -> Any:
  if text in ('true', 'false'):
    return text == 'true'
  try:
    with warnings.catch_warnings(action='ignore'):  # what Python thinks of '\d'
      return plain(ast.literal_eval(text.strip()), 'it', 'the command line')
  except (SyntaxError, ValueError, MemoryError, RecursionError):
    return text


_READ: dict[type, Callable[[str], Any]] = {
  bool: _bool,
  float: float,
  int: _int,
  str: str,
  tuple: _tuple,
}


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
