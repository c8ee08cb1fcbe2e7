"""Keeps compiled programs on disk, so that a command compiles only when it is first started."""

from __future__ import annotations

import os
from pathlib import Path

import jax


def enable() -> None:
  """Makes JAX keep what takes it more than a second to compile in the user's cache folder.

  JAX's own switches go first: JAX_COMPILATION_CACHE_DIR=FOLDER keeps it elsewhere,
  JAX_ENABLE_COMPILATION_CACHE=0 nowhere. A program is found by a hash of all that it depends on
  (computation, versions, flags, devices), so nothing in the folder is ever out of date, and it can
  be deleted at any time. Of several processes that train together one writes. JAX runs what it
  finds there: the folder is the user's alone.
  """
  values = jax.config.values
  if values['jax_compilation_cache_dir'] or not values['jax_enable_compilation_cache']:
    return
  try:
    caches = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache')
    folder = caches / 'pspnet_jax' / 'compiled'
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
  except (OSError, RuntimeError):  # no home, or one that cannot be written to: as without a cache
    return
  jax.config.update('jax_compilation_cache_dir', str(folder))
