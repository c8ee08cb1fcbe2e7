"""Paths as people give them."""

from __future__ import annotations

import os
from pathlib import Path

from pspnet_jax.errors import UserError

HUB = 'hf://'  # how addresses of Hugging Face's Hub begin


def given(path: str | os.PathLike[str]) -> Path:
  """The path that was given, with the home folder in place of `~`.

  A shell does not do that behind `=`, as in --workdir=~/runs.

  Raises:
    UserError: for an empty one, the home of nobody, or an address such as gs://bucket.
  """
  text = os.fspath(path)
  if not text:
    raise UserError('a path is empty: give a file or a folder.')
  if '://' in text:
    raise UserError(f'{text} is an address: give a file or a folder of this computer.')
  expanded = os.path.expanduser(text)
  if expanded.startswith('~'):
    raise UserError(f'{text} begins with the home of a user that there is not: write ./{text}.')
  return Path(expanded)


def is_on_hub(location: str | os.PathLike[str]) -> bool:
  """Whether it is hf://OWNER/NAME, and no folder of this machine."""
  return isinstance(location, str) and location.startswith(HUB)


def cache_folder() -> Path:
  """The folder pspnet_jax in the user's folder for caches, $XDG_CACHE_HOME or ~/.cache.

  Raises:
    RuntimeError: if there is no home folder.
  """
  return Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache').expanduser() / 'pspnet_jax'
