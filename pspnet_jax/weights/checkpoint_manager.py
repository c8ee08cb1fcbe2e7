"""Orbax's manager of checkpoints: which are kept, and by what they are ranked."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from pspnet_jax.weights.checkpoint_faults import hush_tensorstore
from pspnet_jax.weights.step_folders import check, rank

_T = TypeVar('_T')
ITEMS = ('params', 'batch_stats', 'opt_state', 'ema_params')
# The newest and the one before it, which a run goes on from where the newest is damaged.
_LATEST = 2
# Seconds after which what cannot be read is looked at again: a run may be removing it.
PAUSES = (0.05, 0.1, 0.2, 0.4)


def open_manager(directory: Path, *, read_only: bool) -> ocp.CheckpointManager:
  """The manager of the checkpoints in a directory; it keeps the latest two and the best.

  Raises:
    Damaged: if a checkpoint's score, or what Orbax keeps of it, cannot be read.
    OSError: if the directory cannot be used.
  """
  # Not best_fn with max_to_keep: that deletes the newest checkpoint whenever it is not the best.
  keep = preservation_policy.AnyPreservationPolicy(
    [
      preservation_policy.LatestN(_LATEST),
      preservation_policy.BestN(get_metric_fn=rank, n=1, keep_checkpoints_without_metrics=False),
    ]
  )
  options = ocp.CheckpointManagerOptions(
    best_fn=rank,
    preservation_policy=None if read_only else keep,
    create=not read_only,
    cleanup_tmp_directories=not read_only,
  )
  hush_tensorstore()
  check(directory)
  handlers = _handlers()
  return retried(lambda: ocp.CheckpointManager(directory, item_handlers=handlers, options=options))


@functools.cache
def reader() -> ocp.Checkpointer:
  """What reads a checkpoint for this process alone.

  The manager's own reading ends where all processes meet: one that cannot read its file would leave
  the others there.
  """
  hush_tensorstore()
  me = jax.process_index()
  alone = ocp.options.MultiprocessingOptions(
    primary_host=me, active_processes={me}, barrier_sync_key_prefix=f'reader_{me}'
  )
  handlers = _handlers() | {'metrics': ocp.JsonCheckpointHandler(filename='metrics')}
  return ocp.Checkpointer(ocp.CompositeCheckpointHandler(**handlers), multiprocessing_options=alone)


def _handlers() -> dict[str, Any]:
  handlers: dict[str, Any] = {item: ocp.StandardCheckpointHandler() for item in ITEMS}
  return handlers | {'card': ocp.JsonCheckpointHandler()}


def retried(call: Callable[[], _T]) -> _T:
  """`call()`, again where a run removes what it looks at."""
  for pause in PAUSES:
    try:
      return call()
    except FileNotFoundError:
      time.sleep(pause)
  return call()
