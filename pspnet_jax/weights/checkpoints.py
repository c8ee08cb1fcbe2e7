"""Checkpoints of a run: written asynchronously by Orbax, the latest and the best are kept."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
import orbax.checkpoint as ocp
from jax.sharding import Sharding

from pspnet_jax.errors import UserError
from pspnet_jax.inference.card import Card
from pspnet_jax.models.network import Network
from pspnet_jax.runtime import bucket_lock, parallel, storage
from pspnet_jax.runtime.bucket_lock import BucketLock
from pspnet_jax.runtime.files import refuse_links, remove_leftovers, write_whole
from pspnet_jax.runtime.folder_lock import FolderLock
from pspnet_jax.weights.checkpoint_faults import Damaged, writing
from pspnet_jax.weights.checkpoint_manager import PAUSES, SCORES, open_manager, retried
from pspnet_jax.weights.loaded import Loaded, Which
from pspnet_jax.weights.packed import is_packed
from pspnet_jax.weights.stored_step import NOTHING, StoredStep, custom_metadata

_T = TypeVar('_T')

_FILES = ('config.json', 'class_pixels.npz')  # that a run writes beside them
_BUSY = 'is in use by {holder}: wait for its end, or give another workdir.'


class Checkpoints:
  """The checkpoints in `workdir/checkpoints`.

  Each holds the items params, batch_stats, opt_state (and ema_params where an average is kept),
  arrays by name, and the card as JSON. What is on disk under a step's number is whole: a run killed
  while saving leaves a directory with a temporary name, which the next run ignores. Digests of the
  items go with them, and what is read is compared with these.

  One process at a time, or one group that trains together, may write; others may read meanwhile.

  Raises:
    UserError: if the directory cannot be used, or another process writes there.
  """

  def __init__(self, workdir: Path | str, *, read_only: bool = False):
    workdir = storage.absolute(storage.given(workdir))
    storage.check(workdir)
    self.directory = workdir / 'checkpoints'
    self._lock: FolderLock | BucketLock | None = None
    if read_only and not self.directory.is_dir():
      raise UserError(f'{workdir} holds no checkpoints: train into it first, or name another.')
    if not read_only and is_packed(workdir):
      raise UserError(
        f'{workdir} is a packed folder: give another workdir, and start from this one with '
        f'--config.init_from={workdir}.'
      )
    try:
      if not read_only:
        with parallel.together():
          self._take(workdir)
      self._manager = open_manager(self.directory, read_only=read_only)
    except UserError:
      self._release()
      raise
    except OSError as e:
      self._release()
      doing = 'read' if read_only else 'write to'
      raise UserError(f'cannot {doing} {self.directory}: {e.strerror or e}.') from e
    self._folders = self._folders_now()

  def _take(self, workdir: Path) -> None:
    if jax.process_index() == 0:
      self._lock = bucket_lock.lock(workdir, _BUSY)
      remove_leftovers(workdir)
      refuse_links(workdir, _FILES)

  @property
  def latest_step(self) -> int | None:
    return self._manager.latest_step()

  @property
  def best_step(self) -> int | None:
    """The step with the highest validation mIoU; None if no checkpoint has a score."""
    return self._manager.best_step()

  def preempted(self, step: int) -> bool:
    """Whether the cluster has announced, to any process, that it will end the run."""
    return self._manager.reached_preemption(step)

  def lost(self) -> bool:
    """Whether the workdir was removed, moved or replaced while this process worked there.

    Checkpoints that went with it are forgotten; what is saved now makes a new folder.

    Raises:
      UserError: if another process writes there now.
    """
    if self._lock is None:
      return False
    if self._folders_now() != self._folders:
      self._manager.reload()
      return True
    self._lock.renew()
    return False

  def save(
    self, step: int, items: Mapping[str, Any], card: Card, miou: float | None = None
  ) -> None:
    """Starts writing; returns once the arrays may be donated. Waits for the write before.

    Args:
      step: the checkpoint's number.
      items: arrays by name for 'params' and 'batch_stats', and whatever else is to be restored.
      card: goes with them.
      miou: the validation score, by which the best checkpoint is chosen.

    Raises:
      UserError: if this or the previous checkpoint could not be written, on a full disk say.
    """
    if step in self._manager.all_steps():
      return  # saved already, and then something went wrong before the next step was done
    items = {name: x for name, x in items.items() if x != NOTHING}
    saved = {name: ocp.args.StandardSave(x) for name, x in items.items()}
    saved['card'] = ocp.args.JsonSave(card.to_json())
    metrics = None if miou is None else {'mIoU': miou, 'step': step}
    with writing(self.directory):
      self._manager.save(
        step,
        args=ocp.args.Composite(**saved),
        metrics=metrics,
        force=True,
        custom_metadata=custom_metadata(items, card),
      )

  def score(self, step: int) -> float | None:
    """The validation mIoU of a checkpoint; None if the network was not evaluated then."""
    metrics = self._manager.metrics(step)
    return metrics['mIoU'] if metrics else None

  def add_score(self, step: int, miou: float) -> None:
    """Gives a score to a checkpoint that was saved without one, where Orbax would have put it.

    Raises:
      UserError: if it cannot be written.
    """
    self.wait()
    with parallel.together():  # the others read what the first has written
      if jax.process_index() == 0:
        write_whole(self.directory / str(step) / SCORES, json.dumps({'mIoU': miou, 'step': step}))
    self._manager.reload()

  def wait(self) -> None:
    """Waits until what was saved is on disk."""
    with writing(self.directory):
      self._manager.wait_until_finished()

  def close(self) -> None:
    """Waits for what was saved, and lets other processes write."""
    try:
      with writing(self.directory):
        self._manager.close()
    finally:
      self._release()

  def __enter__(self) -> Checkpoints:
    return self

  def __exit__(self, *_: object) -> None:
    self.close()

  def restore(self, wanted: Mapping[str, Any], sharding: Sharding) -> tuple[int, dict[str, Any]]:
    """Restores the latest checkpoint: its step, and the items of the structures of `wanted`.

    Raises:
      UserError: if it is of another network or optimiser; the first difference is named. If it is
        damaged.
    """
    step = self.latest_step
    if step is None:
      raise UserError(f'{self.directory} holds no checkpoint.')
    restored, _ = self._stored(step).items(wanted, sharding)
    return step, {name: restored.get(name, NOTHING) for name in wanted}

  def load(
    self,
    which: Which = 'best',
    build: Callable[[Card], Network | None] = lambda card: None,
    *,
    ema: bool = True,
  ) -> Loaded:
    """The card and the arrays of one checkpoint, whatever a run that goes on does meanwhile.

    Args:
      which: the checkpoint.
      build: makes the network of a card; where it gives None, the arrays are those that are stored.
      ema: whether to take the parameters' moving average, where one was kept.

    Raises:
      UserError: if there is no such checkpoint, it is of another network (the first difference is
        named), damaged, or was replaced each time it was read.
    """
    return self._read_one(which, lambda step: self._stored(step).load(build, ema=ema))

  def has_average(self, which: Which = 'best') -> bool:
    """Whether a moving average of the parameters was kept beside them."""
    return self._read_one(which, lambda step: self._stored(step).has_average)

  def card(self, which: Which = 'best') -> Card:
    """The card of a checkpoint."""
    return self._read_one(which, lambda step: self._stored(step).card())

  def step(self, which: Which) -> int:
    """The step's number; 'best' is the latest where nothing was measured."""
    steps = self._manager.all_steps()
    for pause in () if self._lock is not None else PAUSES:
      if not steps:  # listed while a run put the next one in the place of the only one
        time.sleep(pause)
        retried(self._manager.reload)
        steps = self._manager.all_steps()
    if not steps:
      raise UserError(
        f'{self.directory} holds no checkpoint: train first, or name another workdir.'
      )
    if isinstance(which, int):
      if which not in steps:
        raise UserError(f'{self.directory} has no step {which}; it has {sorted(steps)}.')
      return which
    latest = max(steps)
    if which == 'latest':
      return latest
    best = self.best_step
    return latest if best is None else best

  def _read_one(self, which: Which, read: Callable[[int], _T]) -> _T:
    """What `read` gives of a step; of the next one, if a run that goes on removes it meanwhile."""
    step, damaged = self.step(which), None
    for pause in PAUSES:
      try:
        return read(step)
      except Damaged as e:
        if self._lock is not None:  # nobody else writes
          raise
        damaged = e
      time.sleep(pause)
      retried(self._manager.reload)
      if step not in self._manager.all_steps():
        damaged = None
        if isinstance(which, int):
          break
        step = self.step(which)
    if damaged is not None:
      raise damaged
    raise UserError(
      f'step {step} of {self.directory} was replaced while it was read, by a run that goes on: run '
      'this again.'
    )

  def _stored(self, step: int) -> StoredStep:
    return StoredStep(self._manager, self.directory / str(step))

  def _folders_now(self) -> list[tuple[int, int]]:
    """Which folders these are; empty if one is gone."""
    with contextlib.suppress(OSError):
      found = map(os.stat, (self.directory.parent, self.directory))
      return [(folder.st_dev, folder.st_ino) for folder in found]
    return []

  def _release(self) -> None:
    if self._lock is not None:
      self._lock.release()
