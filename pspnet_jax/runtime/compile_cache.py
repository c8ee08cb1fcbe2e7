"""Keeps compiled programs on disk, so that a command compiles only when it is first started."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import jax

from pspnet_jax.runtime import paths, streams


def enable() -> None:
  """Makes JAX keep what takes it more than a second to compile in the user's cache folder.

  JAX's own switches go first: JAX_COMPILATION_CACHE_DIR=FOLDER keeps it elsewhere,
  JAX_ENABLE_COMPILATION_CACHE=0 nowhere. A program is found by a hash of all that it depends on
  (computation, versions, flags, devices), so nothing in the folder is ever out of date, and it can
  be deleted at any time. Of several processes that train together one writes. JAX runs what it
  finds there: a folder that others could write to is not used, and a line on stderr says so.
  """
  values = jax.config.values
  if values['jax_compilation_cache_dir'] or not values['jax_enable_compilation_cache']:
    return
  try:
    around = paths.cache_folder()
    folder, caches = around / 'compiled', around.parent
    for made in (caches, around, folder):  # parents=True would make those by the umask
      made.mkdir(exist_ok=True, mode=0o700, parents=made == caches)
    # Who may write to the folder around it can put another one in its place.
    fault = next(filter(None, map(_fault, (around, folder))), None)
  except (OSError, RuntimeError):  # no home, or one that cannot be written to: as without a cache
    return
  if fault is not None:
    streams.show(f'Compiled programs are not kept, since {fault}.', sys.stderr)
    return
  jax.config.update('jax_compilation_cache_dir', str(folder))


def _fault(folder: Path) -> str | None:
  """Why a folder, or the one that a link leads to, is not this user's alone; None if it is."""
  status = folder.stat()
  if status.st_uid != os.geteuid():
    return f'{folder.resolve()} belongs to another user'
  if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
    return f'others may write to {folder.resolve()} (mended by chmod go-w)'
  return None
