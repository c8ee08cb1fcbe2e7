"""Config files and the config of a workdir: read, completed with the defaults, kept."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_collections
from ml_collections import config_dict

from pspnet_jax.config import kept_paths, named, overrides, python_file
from pspnet_jax.config.defaults import CHOICES, defaults
from pspnet_jax.config.plain import plain, shown
from pspnet_jax.errors import UserError
from pspnet_jax.inference.card import with_tuples
from pspnet_jax.runtime import annotated, storage
from pspnet_jax.runtime.files import write_whole
from pspnet_jax.weights import packed_config
from pspnet_jax.weights.packed import is_packed

SAVED_AS = 'config.json'  # in the workdir
_LARGEST = 1_000_000  # bytes of it
Names = Mapping[str, str]  # what --config.GROUP.name=NAME flags say, by group


def load(path: str, names: Names | None = None) -> ml_collections.ConfigDict:
  """Reads `FILE.py` or `FILE.py:ARGUMENT` by calling its get_config; completes it with defaults.

  Args:
    path: as on the command line; a config of the package goes by its name, too.
    names: of groups that the command line names, whatever the file does.

  Raises:
    UserError: if there is no such file, it has no get_config, or it sets what does not exist.
  """
  changes, where = python_file.call(path)
  return complete(changes, where, names)


def save(config: ml_collections.ConfigDict, path: Path) -> None:
  """Writes a config as JSON for commands that are given only the workdir.

  Raises:
    UserError: if it cannot be written.
  """
  write_whole(path, json.dumps(config.to_dict(), indent=2) + '\n')


def saved_in(workdir: Path) -> Path | None:
  """The file that `load_saved` reads, of a run or of what was packed of one, if there is any.

  Raises:
    UserError: if the workdir is in a bucket that cannot be read.
  """
  storage.check(workdir)
  path = workdir / SAVED_AS
  is_there = packed_config.has_training(workdir) if is_packed(workdir) else path.is_file()
  return path if is_there else None


def load_saved(path: Path, names: Names | None = None) -> ml_collections.ConfigDict:
  """Reads what `save` or `pspnet pack` wrote. Keys that have gone since then are left out.

  Args:
    path: of the file.
    names: of groups that the command line names. No other name of the user's own code that stands
      in the file is imported.

  Raises:
    UserError: if it cannot be read.
  """
  try:
    with path.open('rb') as file:
      text = file.read(_LARGEST + 1)
    if len(text) > _LARGEST:
      raise ValueError(f'more than {_LARGEST:,} bytes')
    values = with_tuples(packed_config.training_in(json.loads(text.decode())))
    saved = ml_collections.ConfigDict(_with_placeholders(values))
    _check_names(saved)
  except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError) as e:
    how = ' '.join(str(e).split())[:200]
    raise UserError(f'cannot read the config {path} ({how}): give --config=FILE.py.') from e
  given = set((names or {}).values())
  source = saved.get('data', {}).get('name')
  saved = _with_names(
    saved, lambda x: named.NOT_NAMED + x if named.is_own(x) and x not in given else x
  )
  known = defaults(_names_in(saved, names))
  # Without an option, a source would read other data; to another source it means nothing.
  same_source = known.data.name.removeprefix(named.NOT_NAMED) == source
  _drop_unknown(saved, known, keep=('data',) if same_source else ())
  return complete(saved, str(path), names)


def _check_names(config: ml_collections.ConfigDict) -> None:
  """Raises ValueError for a group that is none, and a name that is no text."""
  for group in (*CHOICES, 'augment'):
    if not isinstance(config.get(group, ml_collections.ConfigDict()), ml_collections.ConfigDict):
      raise ValueError(f'{group} is no dictionary')
    for key in ('name', 'transform'):
      if not isinstance(config.get(group, {}).get(key, ''), str | None):
        raise ValueError(f'{group}.{key} is no text')
  callbacks = config.get('callbacks', ())
  if not isinstance(callbacks, tuple) or not all(isinstance(x, str) for x in callbacks):
    raise ValueError('callbacks are no texts')


def _drop_unknown(
  saved: ml_collections.ConfigDict, known: ml_collections.ConfigDict, keep: tuple[str, ...] = ()
) -> None:
  for key in set(saved) - {*keep}:
    groups = [x for x in (saved[key], known.get(key)) if isinstance(x, ml_collections.ConfigDict)]
    if key not in known:
      del saved[key]
    elif len(groups) == 2 and not _is_free(known[key], key):
      _drop_unknown(saved[key], known[key])


def _with_names(
  config: ml_collections.ConfigDict, change: Callable[[str], str]
) -> ml_collections.ConfigDict:
  """Changes all that may name code of the user's own, wherever it stands in a config."""
  for group in CHOICES:
    if config.get(group, {}).get('name') is not None:
      config[group].name = change(config[group].name)
  if config.get('augment', {}).get('transform') is not None:
    config.augment.transform = change(config.augment.transform)
  if 'callbacks' in config:
    config.callbacks = tuple(map(change, config.callbacks))
  return config


def _with_placeholders(values: dict[str, Any]) -> dict[str, Any]:
  """None as a field that a flag may still set: in JSON its type is lost."""
  return {
    key: _with_placeholders(value)
    if isinstance(value, dict)
    else (config_dict.placeholder(object) if value is None else value)
    for key, value in values.items()
  }


def _names_in(changes: ml_collections.ConfigDict, names: Names | None) -> dict[str, str]:
  """The name of each group: the command line's, else that of `changes`."""
  found = {}
  for group in CHOICES:
    options = changes.get(group, {})
    if isinstance(options, ml_collections.ConfigDict | dict) and options.get('name') is not None:
      found[group] = str(options['name'])
  return found | {group: name for group, name in (names or {}).items() if group in CHOICES}


def _is_free(group: ml_collections.ConfigDict, key: str) -> bool:
  """Whether a group may have any keys: whoever uses them checks them."""
  name = str(group.get('name', ''))
  return name.startswith(named.NOT_NAMED) or (key == 'data' and named.is_own(name))


def complete(
  changes: ml_collections.ConfigDict, where: str, names: Names | None = None
) -> ml_collections.ConfigDict:
  """Defaults with `changes` laid over them, as plain values.

  Any key may stand under `data` of a source of one's own, which checks them.

  Raises:
    UserError: for a key that does not exist (with the nearest one) or a value of another type.
  """
  config = defaults(_names_in(changes, names))
  _lay_over(config, changes, where)
  return config


def _lay_over(
  config: ml_collections.ConfigDict,
  changes: ml_collections.ConfigDict,
  where: str,
  group: str = '',
  free: bool = False,
) -> None:
  for key in changes:
    path = f'{group}{key}'
    try:
      value = changes[key]
    except config_dict.RequiredValueError as e:
      raise UserError(f'{where} leaves {path} without a value: give it one.') from e
    if free and key not in config:
      kept = plain(value, path, where)
      config[key] = config_dict.placeholder(changes.get_type(key)) if kept is None else kept
      continue
    check_key(config, key, f'{where}: {group[:-1]}' if group else where)
    old = config[key]
    if isinstance(old, ml_collections.ConfigDict):
      if not isinstance(value, ml_collections.ConfigDict):
        raise UserError(f'{where} sets {path} to {shown(value)}: give a dictionary of its keys.')
      _lay_over(old, value, where, f'{path}.', free or _is_free(old, path))
      continue
    value, kind = plain(value, path, where), config.get_type(key)
    if kind is int and isinstance(value, float) and value.is_integer():
      value = int(value)  # 3e4 steps
    try:
      # None is "not set", which only some may be; in the data it leaves the source's default.
      unset = value is None and old is not None and (not group.startswith('data.') or key == 'name')
      if unset or (isinstance(value, bool) and kind in (int, float)):
        raise TypeError
      config[key] = value
    except (TypeError, ValueError, OverflowError) as e:
      what = annotated.described(kind)
      raise UserError(f'{where} sets {path} to {shown(value)}: give {what}.') from e


def check_key(config: ml_collections.ConfigDict, key: str, where: str) -> None:
  """Raises UserError, with the nearest key, unless `config` has `key`."""
  if key not in config:
    near = overrides.close(key, config.keys())
    hint = f'did you mean {near}?' if near else f'it knows {", ".join(sorted(config.keys()))}.'
    raise UserError(f'{where} sets the unknown config key {key!r}: {hint}')


def keep_config(config: ml_collections.ConfigDict, workdir: Path) -> list[str]:
  """Writes the config to the workdir.

  Returns:
    What differs from the config that was there, one phrase a key.

  Raises:
    UserError: if it cannot be written.
  """
  path = workdir / SAVED_AS
  config = kept_paths.absolute(config)
  changes = []
  if path.is_file():
    with contextlib.suppress(UserError):  # a damaged one is replaced
      before = _with_names(load_saved(path), lambda x: x.removeprefix(named.NOT_NAMED))
      changes = _differences(before, config)
  save(config, path)
  return changes


def _differences(old: ml_collections.ConfigDict, new: ml_collections.ConfigDict) -> list[str]:
  before, after = _flat(old.to_dict()), _flat(new.to_dict())
  names = sorted(before.keys() | after.keys())
  return [
    f'{name}: {before.get(name)} → {after.get(name)}'
    for name in names
    if before.get(name) != after.get(name)
  ]


def _flat(tree: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
  flat: dict[str, Any] = {}
  for key, value in tree.items():
    flat |= _flat(value, f'{prefix}{key}.') if isinstance(value, Mapping) else {prefix + key: value}
  return flat
