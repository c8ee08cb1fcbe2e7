"""Orbax's manager of checkpoints: which are kept, and by what they are ranked."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from pspnet_jax.weights.checkpoint_faults import Damaged, hush_tensorstore

_T = TypeVar('_T')
_ITEMS = ('params', 'batch_stats', 'opt_state', 'ema_params')
SCORES = 'metrics/metrics'  # where Orbax keeps those of a checkpoint, as JSON
# Seconds after which what cannot be read is looked at again: a run may be removing it.
PAUSES = (0.05, 0.1, 0.2, 0.4)


def open_manager(directory: Path, *, read_only: bool) -> ocp.CheckpointManager:
  """The manager of the checkpoints in a directory; it keeps the latest and the best.

  Raises:
    Damaged: if what tells a checkpoint's score cannot be read.
    OSError: if the directory cannot be used.
  """
  # Not best_fn with max_to_keep: that deletes the newest checkpoint whenever it is not the best.
  keep = preservation_policy.AnyPreservationPolicy(
    [
      preservation_policy.LatestN(1),
      preservation_policy.BestN(get_metric_fn=_rank, n=1, keep_checkpoints_without_metrics=False),
    ]
  )
  options = ocp.CheckpointManagerOptions(
    best_fn=_rank,
    preservation_policy=None if read_only else keep,
    create=not read_only,
    cleanup_tmp_directories=not read_only,
  )
  handlers: dict[str, Any] = {item: ocp.StandardCheckpointHandler() for item in _ITEMS}
  handlers['card'] = ocp.JsonCheckpointHandler()
  hush_tensorstore()
  _check_scores(directory)
  return retried(lambda: ocp.CheckpointManager(directory, item_handlers=handlers, options=options))


def retried(call: Callable[[], _T]) -> _T:
  """`call()`, again where a run removes what it looks at."""
  for pause in PAUSES:
    try:
      return call()
    except FileNotFoundError:
      time.sleep(pause)
  return call()


def _rank(metrics: Mapping[str, float]) -> Any:
  """What the best checkpoint has most of: the score; of equal ones the first is the best."""
  return metrics['mIoU'], -metrics.get('step', 0)


def _check_scores(directory: Path) -> None:
  """Refuses what Orbax would end on with an error of its own, at any later call."""
  for path in directory.glob(f'*/{SCORES}'):
    try:
      _rank({key: float(x) for key, x in json.loads(path.read_bytes()).items()})
    except FileNotFoundError:  # just removed
      continue
    except (ValueError, TypeError, KeyError, AttributeError) as e:
      raise Damaged(path.parent.parent, f'its score, {SCORES}, cannot be read') from e
