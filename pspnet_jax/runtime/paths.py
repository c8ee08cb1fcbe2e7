"""Paths as people give them."""

from __future__ import annotations

import os
import re
from pathlib import Path

from pspnet_jax.errors import UserError

HUB = 'hf://'  # how addresses of Hugging Face's Hub begin
# A `Path` of an address has lost a slash, too.
_MISSPELT = re.compile(r'(gs|gcs|s3|hf|az|https?):/?([^/].*)', re.DOTALL)


def given(path: str | os.PathLike[str]) -> Path:
  """The path that was given, with the home folder in place of `~`.

  A shell does not do that behind `=`, as in --workdir=~/runs.

  Raises:
    UserError: for an empty one, the home of nobody, an address such as gs://bucket, or what looks
      like a misspelt one, for which a folder of that name would be made.
  """
  text = os.fspath(path)
  if not text:
    raise UserError('a path is empty: give a file or a folder.')
  if '://' in text:
    raise UserError(f'{text} is an address: give a file or a folder of this computer.')
  if found := _MISSPELT.match(text):
    raise UserError(
      f'{text} looks like an address that lacks a slash: write {found[1]}://{found[2]}, or '
      f'./{text} for a folder of that name.'
    )
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
