"""Config files and the config of a workdir: read, completed with the defaults, kept."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_collections
from ml_collections import config_dict

from pspnet_jax.config import named, overrides, shipped
from pspnet_jax.config.defaults import CHOICES, defaults
from pspnet_jax.errors import UserError, cannot_write
from pspnet_jax.inference.card import with_tuples
from pspnet_jax.runtime.files import write_whole

SAVED_AS = 'config.json'  # in the workdir
Names = Mapping[str, str]  # what --config.GROUP.name=NAME flags say, by group


def load(path: str, names: Names | None = None) -> ml_collections.ConfigDict:
  """Reads `FILE.py` or `FILE.py:ARGUMENT` by calling its get_config; completes it with defaults.

  Args:
    path: as on the command line; a config of the package goes by its name, too.
    names: of groups that the command line names, whatever the file does.

  Raises:
    UserError: if there is no such file, it has no get_config, or it sets what does not exist.
  """
  path, _, argument = path.partition(':')
  path = str(shipped.find(path))
  module_spec = importlib.util.spec_from_file_location('config', path)
  if module_spec is None or module_spec.loader is None:
    raise UserError(f'{path} is not a Python file: give --config=FILE.py.')
  module = importlib.util.module_from_spec(module_spec)
  try:
    module_spec.loader.exec_module(module)
    if argument and not inspect.signature(module.get_config).parameters:
      raise UserError(f'{path} takes no argument: leave out :{argument}.')
    changes = module.get_config(*([argument] if argument else []))
  except UserError:
    raise
  except Exception as e:  # the file is the user's code: whatever it raises, they can mend
    raise UserError(f'{path} does not give a config: {type(e).__name__}: {e}.') from e
  if not isinstance(changes, ml_collections.ConfigDict):
    raise UserError(f'get_config() of {path} returns {changes!r}: return a ConfigDict.')
  return complete(changes, path, names)


def save(config: ml_collections.ConfigDict, path: Path) -> None:
  """Writes a config as JSON for commands that are given only the workdir.

  Raises:
    UserError: if it cannot be written.
  """
  write_whole(path, json.dumps(config.to_dict(), indent=2) + '\n')


def load_saved(path: Path, names: Names | None = None) -> ml_collections.ConfigDict:
  """Reads what `save` wrote. Keys that have gone since then are left out.

  Args:
    path: of the file.
    names: of groups that the command line names. No other name of the user's own code that stands
      in the file is imported.

  Raises:
    UserError: if it cannot be read.
  """
  try:
    values = with_tuples(json.loads(path.read_text()))
    saved = ml_collections.ConfigDict(_with_placeholders(values))
  except (OSError, ValueError, TypeError, AttributeError) as e:
    raise UserError(f'cannot read the config {path} ({e}): give --config=FILE.py.') from e
  given = set((names or {}).values())
  saved = _with_names(
    saved, lambda x: named.NOT_NAMED + x if named.is_own(x) and x not in given else x
  )
  known = defaults(_names_in(saved, names))
  for key in set(saved) - set(known):
    del saved[key]
  for key, value in known.items():
    if key in saved and isinstance(value, ml_collections.ConfigDict) and not _is_free(value, key):
      for name in set(saved[key]) - set(value):
        del saved[key][name]
  return complete(saved, str(path), names)


def _with_names(
  config: ml_collections.ConfigDict, change: Callable[[str], str]
) -> ml_collections.ConfigDict:
  """Changes all that may name code of the user's own, wherever it stands in a config."""
  for group in ('data', *CHOICES):
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
  return key == 'data' or str(group.get('name', '')).startswith(named.NOT_NAMED)


def complete(
  changes: ml_collections.ConfigDict, where: str, names: Names | None = None
) -> ml_collections.ConfigDict:
  """Defaults with `changes` laid over them.

  Any key may stand under `data`, whose source checks them.

  Raises:
    UserError: for a key that does not exist (with the nearest one) or a value of another type.
  """
  config = defaults(_names_in(changes, names))
  for split in ('train', 'val'):
    if not isinstance(changes.get('data', {}).get(split, {}), ml_collections.ConfigDict | dict):
      raise UserError(f'{where} sets data.{split} to a value: give a dictionary such as split=.')
  _lay_over(config, changes, where)
  return config


def _lay_over(
  config: ml_collections.ConfigDict, changes: ml_collections.ConfigDict, where: str
) -> None:
  for key, value in changes.items():
    check_key(config, key, where)
    old = config[key]
    if isinstance(old, ml_collections.ConfigDict):
      if not isinstance(value, ml_collections.ConfigDict):
        raise UserError(f'{where} sets {key} to {value!r}: give a dictionary of its keys.')
      if _is_free(old, key):
        old.update(value)
      else:
        _lay_over(old, value, f'{where}: {key}')
      continue
    try:
      config[key] = tuple(value) if isinstance(value, list) else value
    except TypeError as e:
      kind = config.get_type(key).__name__
      raise UserError(f'{where} sets {key} to {value!r}: give a {kind}.') from e


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
  changes = []
  if path.is_file():
    with contextlib.suppress(UserError):  # a damaged one is replaced
      before = _with_names(load_saved(path), lambda x: x.removeprefix(named.NOT_NAMED))
      changes = _differences(before, config)
  save(config, path)
  return changes


def make_workdir(workdir: Path) -> None:
  """Makes the folder; UserError if that cannot be done."""
  try:
    workdir.mkdir(parents=True, exist_ok=True)
  except OSError as e:
    raise cannot_write(workdir, e) from e


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
