"""The choice of the checkpoint that is read, beside a run that goes on and replaces them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp

from pspnet_jax.errors import UserError
from pspnet_jax.runtime import parallel
from pspnet_jax.weights.checkpoint_faults import Damaged
from pspnet_jax.weights.checkpoint_manager import PAUSES, retried
from pspnet_jax.weights.loaded import Which
from pspnet_jax.weights.step_folders import SCORES
from pspnet_jax.weights.stored_step import StoredStep

_T = TypeVar('_T')


def step_of(manager: ocp.CheckpointManager, directory: Path, which: Which, *, live: bool) -> int:
  """The number of a step; 'best' is the latest where nothing was measured.

  Args:
    manager: knows the steps.
    directory: that of the checkpoints.
    which: the checkpoint.
    live: whether another process may write there now.

  Raises:
    UserError: if there is none.
  """
  steps = manager.all_steps()
  for pause in PAUSES if live else ():
    if not steps:  # listed while a run put the next one in the place of the only one
      time.sleep(pause)
      retried(manager.reload)
      steps = manager.all_steps()
  if not steps:
    raise UserError(f'{directory} holds no checkpoint: train first, or name another workdir.')
  if isinstance(which, int):
    if which not in steps:
      raise UserError(f'{directory} has no step {which}; it has {sorted(steps)}.')
    return which
  best = None if which == 'latest' else manager.best_step()
  return max(steps) if best is None else best


def agreed(own: Sequence[int], directory: Path) -> list[int]:
  """The steps that all processes see, the newest first. All call it together.

  Args:
    own: the steps that this process sees.
    directory: that of the checkpoints.

  Raises:
    UserError: if a process sees others than the first, as where its disk shows an old listing.
  """
  steps = [int(step) for step in parallel.of_first(np.array(sorted(own, reverse=True), np.int64))]
  with parallel.together():
    if different := set(steps) ^ set(own):
      step, me = max(different), f'process {jax.process_index()}'
      said = (
        f'{me} cannot see step {step} of {directory}, which process 0 sees'
        if step in steps
        else f'{me} sees step {step} of {directory}, which process 0 does not see'
      )
      raise UserError(f'{said}: its disk shows an old listing, so run the same command again.')
  return steps


def read_one(
  manager: ocp.CheckpointManager,
  directory: Path,
  which: Which,
  read: Callable[[StoredStep], _T],
  *,
  live: bool,
) -> _T:
  """What `read` gives of a step; of the next one, if a run that goes on removes it meanwhile.

  Raises:
    Damaged: if it is, with the checkpoint to choose in its place.
    UserError: if there is none, or it was replaced each time it was read.
  """
  step, damaged = step_of(manager, directory, which, live=live), None
  for pause in PAUSES:
    try:
      if which == 'best':
        _check_scores_are_there(manager, directory)
      return read(StoredStep(directory / str(step)))
    except Damaged as e:
      if not live:
        raise
      damaged = e
    time.sleep(pause)
    retried(manager.reload)
    if step not in manager.all_steps():
      damaged = None
      if isinstance(which, int):
        break
      step = step_of(manager, directory, which, live=live)
  if damaged is not None:
    raise Damaged(damaged.folder, damaged.reason, _remedy(manager.all_steps(), damaged.folder))
  raise UserError(
    f'step {step} of {directory} was replaced while it was read, by a run that goes on: run this '
    'again.'
  )


def _check_scores_are_there(manager: ocp.CheckpointManager, directory: Path) -> None:
  """Raises Damaged where a score was removed, so that the best would be another one."""
  for step in manager.all_steps():
    if StoredStep(directory / str(step)).lost_score:
      raise Damaged(directory / str(step), f'its score, {SCORES}, is gone')


def _remedy(steps: list[int], damaged: Path) -> str:
  """What to do about a damaged checkpoint that was to be read."""
  others = [step for step in steps if str(step) != damaged.name]
  if not others:
    return 'it is the only one: take a copy of it, or train again'
  newest = max(others)
  return f'choose another one with --checkpoint={"latest" if newest == max(steps) else newest}'
