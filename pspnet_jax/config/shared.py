"""The config of a run as it may be shown to others: without the folders of its author's machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_collections

from pspnet_jax.config import files, named
from pspnet_jax.config.defaults import CHOICES, defaults
from pspnet_jax.config.overrides import as_flags


def shared(saved: Path) -> tuple[dict[str, Any], list[str]]:
  """The config in a file that `files.load_saved` reads; of absolute paths, only the ends are left.

  Returns:
    All settings, and a flag for each that is not the default.

  Raises:
    UserError: if it cannot be read.
  """
  config = files.load_saved(saved)
  usual = set(as_flags(defaults({group: config[group].name for group in CHOICES})))
  values: dict[str, Any] = _without_folders(config.to_dict())
  lines = as_flags(ml_collections.ConfigDict(values))
  return values, [line for line in lines if line not in usual and '=' in line]


def data_name(config: Mapping[str, Any], split: str) -> str:
  """What the data of 'train' or 'val' are called: a folder by its own name, without the way to it.

  Args:
    config: all settings, as plain values.
    split: which data.
  """
  known = (*config['data'].items(), *(config['data'].get(split) or {}).items())
  options = {key: value for key, value in known if value is not None}
  root = options.get('root') if options.get('name') == 'folder' else None
  return (root and os.path.basename(os.path.abspath(str(root)))) or str(options.get('name'))


def images(counted: int, left_out: int) -> str:
  """How many images were measured on, in words."""
  return f'{counted:,} images' + (f' ({left_out:,} left out as unusable)' if left_out else '')


def _without_folders(value: Any) -> Any:
  """A value in which absolute paths are their last parts."""
  if isinstance(value, dict):
    return {key: _without_folders(x) for key, x in value.items()}
  if isinstance(value, list | tuple):
    return tuple(map(_without_folders, value))
  if not isinstance(value, str):
    return value
  text = value.removeprefix(named.NOT_NAMED)
  return ','.join(
    os.path.basename(part.rstrip('/')) if part.startswith(('/', '~')) else part
    for part in text.split(',')
  )
