"""Checkpoints of a run: written asynchronously by Orbax, the latest two and the best are kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.sharding import Sharding

from pspnet_jax.errors import UserError
from pspnet_jax.inference.card import Card
from pspnet_jax.models.network import Network
from pspnet_jax.runtime import bucket_lock, parallel, storage
from pspnet_jax.runtime.bucket_lock import BucketLock
from pspnet_jax.runtime.files import refuse_links, remove_leftovers, write_whole
from pspnet_jax.runtime.folder_lock import FolderLock
from pspnet_jax.runtime.shared_folder import check_shared
from pspnet_jax.weights.background_write import BackgroundWrite
from pspnet_jax.weights.checkpoint_faults import Damaged, kept_in, writing
from pspnet_jax.weights.checkpoint_manager import open_manager
from pspnet_jax.weights.choosing import agreed, read_one, step_of
from pspnet_jax.weights.loaded import Loaded, Which
from pspnet_jax.weights.packed import is_packed
from pspnet_jax.weights.step_folders import (
  SCORES,
  made_anew,
  no_other,
  scored,
  set_aside,
  set_aside_unusable,
  which_folders,
)
from pspnet_jax.weights.stored_step import NOTHING, StoredStep, custom_metadata

_T = TypeVar('_T')

_FOLDER = 'checkpoints'
_WRITTEN = (_FOLDER, 'config.json', 'class_pixels.npz')  # by a run
_BUSY = 'is in use by {holder}: wait for its end, or give another workdir.'


class Checkpoints:
  """The checkpoints in `workdir/checkpoints`.

  Each holds the items params, batch_stats, opt_state (and ema_params where an average is kept),
  arrays by name, and the card as JSON. What is on disk under a step's number is whole: a run killed
  while saving leaves a directory with a temporary name, which the next run ignores. Digests of the
  items go with them, and what is read is compared with these.

  One process at a time, or one group that trains together, may write; others may read meanwhile.

  Attributes:
    passed_over: what was found damaged and set aside in the place of which an earlier one counts, a
      sentence each; in the first process.
    write: the one that goes on in the background.

  Raises:
    UserError: if the directory cannot be used, or another process writes there.
  """

  def __init__(self, workdir: Path | str, *, read_only: bool = False):
    workdir = storage.absolute(storage.given(workdir))
    storage.check(workdir)
    self.directory = workdir / _FOLDER
    self.passed_over: list[str] = []
    self.write = BackgroundWrite(self.directory)
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
        check_shared(workdir)
      self._manager = open_manager(self.directory, read_only=read_only)
    except BaseException as e:  # a signal's, too
      self._release()
      if not isinstance(e, OSError):
        raise
      doing = 'read' if read_only else 'write to'
      raise UserError(f'cannot {doing} {self.directory}: {e.strerror or e}.') from e
    self._folders = which_folders(self.directory)

  def _take(self, workdir: Path) -> None:
    if jax.process_index() == 0:
      self._lock = bucket_lock.lock(workdir, _BUSY)
      remove_leftovers(workdir)
      refuse_links(workdir, _WRITTEN)
      self.passed_over += set_aside_unusable(self.directory)

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

  def kept(self) -> str:
    """Says what is on disk now, for a run that something ends; any thread may ask."""
    return kept_in(self.directory)

  def lost(self) -> bool:
    """Whether the workdir was removed, moved or replaced while this process worked there.

    What is saved after `reload` makes a new folder. Waits for no other process.

    Raises:
      UserError: if another process writes there now, or has left checkpoints.
    """
    return self._renew()

  def reload(self) -> None:
    """Looks at the folder anew, so that checkpoints that went with the old one are forgotten."""
    self._manager.reload()

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
      UserError: if this or the previous checkpoint could not be written, on a full disk say, or
        another process has taken the folder.
    """
    with parallel.together():
      lost = self._renew()
    lost, there = parallel.of_first(np.array([lost, step in self._manager.all_steps()], np.int64))
    if lost:
      self._manager.reload()
    elif there:
      return  # saved already, and then something went wrong before the next step was done
    items = {name: x for name, x in items.items() if x != NOTHING}
    saved = {name: ocp.args.StandardSave(x) for name, x in items.items()}
    saved['card'] = ocp.args.JsonSave(card.to_json())
    with writing(self.directory):
      self._manager.save(
        step,
        args=ocp.args.Composite(**saved),
        metrics=None if miou is None else scored(miou, step),
        force=True,
        custom_metadata=custom_metadata(step, items, card, scored=miou is not None),
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
      if jax.process_index() == 0 and not self._renew():
        write_whole(self.directory / str(step) / SCORES, json.dumps(scored(miou, step)))
    self._manager.reload()

  def wait(self) -> None:
    """Waits until all is on disk."""
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
    """Restores the newest sound checkpoint: its step, and the items of the structures of `wanted`.

    Raises:
      UserError: if it is of another network or optimiser; the first difference is named. If there
        is none.
    """

    def read(stored: StoredStep) -> tuple[int, dict[str, Any]]:
      restored, _ = stored.items(wanted, sharding)
      return stored.step, {name: restored.get(name, NOTHING) for name in wanted}

    return self.from_newest(read)

  def agreed_steps(self) -> list[int]:
    """The steps there are, the newest first, which all processes see. All call it together.

    Raises:
      UserError: if a process sees others than the first, as where its disk's listing is an old one.
    """
    return agreed(self._manager.all_steps(), self.directory)

  def from_newest(self, read: Callable[[StoredStep], _T]) -> _T:
    """What `read` gives of the newest checkpoint that is sound.

    Damaged ones are set aside as soon as a sound one is found, which `passed_over` then tells. All
    processes read, and pass over what one of them cannot read; nothing in `read` may wait for the
    others.

    Raises:
      UserError: what `read` raises. If there is none, or none is sound; nothing is moved then.
    """
    damaged: list[Damaged] = []
    found: _T
    for step in self.agreed_steps():
      fault, folder = None, self.directory / str(step)
      with parallel.together():
        try:
          found = read(StoredStep(folder))
        except Damaged as e:
          fault = e
      if not parallel.sum_over_processes(np.array([fault is not None], np.int64))[0]:
        self._set_aside(damaged)
        return found
      damaged.append(fault or Damaged(folder, 'another process cannot read it'))
    if damaged:
      raise no_other(damaged[0].folder, damaged[0].reason)
    raise UserError(f'{self.directory} holds no checkpoint.')

  def _set_aside(self, damaged: list[Damaged]) -> None:
    with parallel.together():
      for fault in damaged if jax.process_index() == 0 else ():
        self.passed_over.append(set_aside(fault.folder, fault.reason))
    if damaged:
      self._manager.reload()

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
    return self._read_one(which, lambda stored: stored.load(build, ema=ema))

  def card(self, which: Which = 'best') -> Card:
    """The card of a checkpoint."""
    return self._read_one(which, lambda stored: stored.card())

  def step(self, which: Which) -> int:
    """The step's number; 'best' is the latest where nothing was measured."""
    return step_of(self._manager, self.directory, which, live=self._lock is None)

  def _read_one(self, which: Which, read: Callable[[StoredStep], _T]) -> _T:
    return read_one(self._manager, self.directory, which, read, live=self._lock is None)

  def _renew(self) -> bool:
    if self._lock is None:
      return False
    lost = which_folders(self.directory) != self._folders
    self._lock.renew()  # where it is taken, the new folder is somebody else's
    if lost:
      self._folders = made_anew(self.directory)
    return lost

  def _release(self) -> None:
    if self._lock is not None:
      self._lock.release()
