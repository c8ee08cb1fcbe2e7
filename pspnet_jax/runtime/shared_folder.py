"""Checks that all processes that train together see the same folder."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from pspnet_jax.errors import UserError
from pspnet_jax.runtime import parallel, storage
from pspnet_jax.runtime.files import write_whole

_PATIENCE = 10.0  # seconds that a network's disk may take to show what another machine wrote


def check_shared(folder: Path) -> None:
  """Raises UserError, in all processes, if one of them does not see what the first has written.

  All call it together. A process alone has nothing to check, and an address of a bucket is one
  folder wherever it is asked for.
  """
  if jax.process_count() == 1 or storage.is_remote(folder):
    return
  first = jax.process_index() == 0
  token = parallel.sum_over_processes(np.array([secrets.randbits(60) if first else 0], np.int64))[0]
  path = folder / f'.shared-{token:015x}.part'  # as `remove_leftovers` knows it, if this is killed
  with parallel.together():
    if first:
      write_whole(path, '')
  seen = first or _within(_PATIENCE, path.exists)
  unseen = parallel.sum_over_processes(np.array([not seen], np.int64))[0]
  if first:
    with contextlib.suppress(OSError):
      path.unlink()
  if unseen:
    raise UserError(
      f'{folder} is not the same folder on all machines, but one of its own on {unseen} of them: '
      'give a workdir on a disk that all processes share.'
    )


def _within(seconds: float, happens: Callable[[], bool]) -> bool:
  until = time.monotonic() + seconds
  while not happens():
    if time.monotonic() > until:
      return False
    time.sleep(0.1)
  return True
