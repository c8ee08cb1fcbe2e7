"""Checkpoints of a run: written asynchronously by Orbax, the latest and the best are kept."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import orbax.checkpoint as ocp
from jax.sharding import Sharding
from orbax.checkpoint.checkpoint_managers import preservation_policy

from pspnet_jax.errors import UserError
from pspnet_jax.inference.card import Card
from pspnet_jax.models.network import Arrays, Network
from pspnet_jax.runtime import paths

Which = Literal['best', 'latest'] | int

_ITEMS = ('params', 'batch_stats', 'opt_state', 'ema_params')


# What a network without batch normalisation has for statistics; Orbax stores no empty item.
_NOTHING: dict[str, Any] = {}


def _rank(metrics: Mapping[str, float]) -> Any:
  """What the best checkpoint has most of: the score; of equal ones the first is the best."""
  return metrics['mIoU'], -metrics.get('step', 0)


class Checkpoints:
  """The checkpoints in `workdir/checkpoints`.

  Each holds the items params, batch_stats, opt_state (and ema_params where an average is kept),
  arrays by name, and the card as JSON. What is on disk under a step's number is whole: a run killed
  while saving leaves a directory with a temporary name, which the next run ignores.

  Raises:
    UserError: if the directory cannot be used.
  """

  def __init__(self, workdir: Path | str, *, read_only: bool = False):
    self.directory = paths.given(workdir).absolute() / 'checkpoints'
    if read_only and not self.directory.is_dir():
      raise UserError(f'{workdir} holds no checkpoints: train into it first, or name another.')
    # Not best_fn with max_to_keep: that deletes the newest checkpoint whenever it is not the best.
    keep = preservation_policy.AnyPreservationPolicy(
      [
        preservation_policy.LatestN(1),
        preservation_policy.BestN(get_metric_fn=_rank, n=1, keep_checkpoints_without_metrics=False),
      ]
    )
    try:
      self._manager = ocp.CheckpointManager(
        self.directory,
        item_handlers={
          **{item: ocp.StandardCheckpointHandler() for item in _ITEMS},
          'card': ocp.JsonCheckpointHandler(),
        },
        options=ocp.CheckpointManagerOptions(
          best_fn=_rank,
          preservation_policy=None if read_only else keep,
          create=not read_only,
          cleanup_tmp_directories=not read_only,
        ),
      )
    except OSError as e:
      raise UserError(f'cannot write to {self.directory}: {e.strerror or e}.') from e

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
    saved = {name: ocp.args.StandardSave(x) for name, x in items.items() if x != _NOTHING}
    saved['card'] = ocp.args.JsonSave(card.to_json())
    metrics = None if miou is None else {'mIoU': miou, 'step': step}
    with _writing(self.directory):
      self._manager.save(step, args=ocp.args.Composite(**saved), metrics=metrics, force=True)

  def score(self, step: int) -> float | None:
    """The validation mIoU of a checkpoint; None if the network was not evaluated then."""
    metrics = self._manager.metrics(step)
    return metrics['mIoU'] if metrics else None

  def wait(self) -> None:
    """Waits until what was saved is on disk."""
    with _writing(self.directory):
      self._manager.wait_until_finished()

  def close(self) -> None:
    with _writing(self.directory):
      self._manager.close()

  def restore(self, wanted: Mapping[str, Any], sharding: Sharding) -> tuple[int, dict[str, Any]]:
    """Restores the latest checkpoint: its step, and the items of the structures of `wanted`.

    Raises:
      UserError: if it is of another network or optimiser; the first difference is named.
    """
    step = self.latest_step
    if step is None:
      raise UserError(f'{self.directory} holds no checkpoint.')
    self._check(step, wanted)
    restored = self._read(step, wanted, sharding)
    return step, {name: restored.get(name, _NOTHING) for name in wanted}

  def card(self, which: Which = 'best') -> Card:
    """The card of a checkpoint."""
    step = self.step(which)
    with _reading(self.directory / str(step)):
      args = ocp.args.Composite(card=ocp.args.JsonRestore())
      return Card.from_json(self._manager.restore(step, args=args)['card'])

  def has_average(self, which: Which = 'best') -> bool:
    """Whether a moving average of the parameters was kept beside them."""
    return self._metadata(self.step(which)).get('ema_params') is not None

  def which_parameters(self, which: Which, ema: bool) -> str:
    """Says which of the two kinds `weights` gives, ' (...)'; '' where there is only one."""
    if not self.has_average(which):
      return ''
    return ' (the moving average of the parameters)' if ema else ' (not their moving average)'

  def weights(
    self, network: Network | None, which: Which = 'best', *, ema: bool = True
  ) -> tuple[Arrays, Arrays]:
    """Parameters and batch statistics.

    Args:
      network: what they have to be of; None takes them as they are stored, by their names.
      which: the checkpoint.
      ema: whether to take the parameters' moving average, where one was kept.

    Raises:
      UserError: if the checkpoint is of another network; the first difference is named.
    """
    step = self.step(which)
    metadata = self._metadata(step)
    params = 'ema_params' if ema and metadata.get('ema_params') is not None else 'params'
    if network is None:
      items = (params, 'batch_stats')
      wanted = {item: dict(metadata[item].tree) for item in items if metadata.get(item) is not None}
    else:
      wanted = {params: network.param_shapes, 'batch_stats': network.batch_stat_shapes}
      self._check(step, wanted)
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    restored = self._read(step, wanted, device)
    return restored[params], restored.get('batch_stats', _NOTHING)

  def step(self, which: Which) -> int:
    """The step's number; 'best' is the latest where nothing was measured."""
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

  def _metadata(self, step: int) -> Any:
    with _reading(self.directory / str(step)):
      return self._manager.item_metadata(step)

  def _read(self, step: int, wanted: Mapping[str, Any], sharding: Sharding) -> Any:
    """The items of the structures of `wanted`."""
    wanted = jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), dict(wanted)
    )
    items = {n: ocp.args.StandardRestore(x) for n, x in wanted.items() if x != _NOTHING}
    with _reading(self.directory / str(step)):
      return self._manager.restore(step, args=ocp.args.Composite(**items))

  def _check(self, step: int, wanted: Mapping[str, Any]) -> None:
    """Compares names and shapes of arrays by name with what is stored."""
    metadata = self._metadata(step)
    where = f'checkpoint {self.directory / str(step)}'
    remedy = 'use the config it was trained with, or another workdir'
    if 'opt_state' in wanted and metadata.get('opt_state') is None and metadata.get('params'):
      raise UserError(
        f'{where} holds weights without an optimiser: start from them in another workdir with '
        f'--config.init_from={self.directory.parent}.'
      )
    for item, arrays in wanted.items():
      stored = metadata.get(item)
      if stored is None and arrays == _NOTHING:
        continue
      if stored is None:
        raise UserError(f'{where} has no {item}: it is damaged, or {remedy}.')
      if item == 'opt_state':
        kept, ours = (sorted(_shapes(tree)) for tree in (stored.tree, arrays))
        if kept != ours:
          raise UserError(
            f'{where} is of another optimiser, or of one that froze other parts: go on with the '
            'config.optimizer it was trained with, or start from it in another workdir with '
            f'--config.init_from={self.directory.parent}.'
          )
        continue
      stored = {name: tuple(array.shape) for name, array in stored.tree.items()}
      shapes = {name: tuple(array.shape) for name, array in arrays.items()}
      for name in sorted(stored.keys() | shapes.keys()):
        there, here = stored.get(name, 'absent'), shapes.get(name, 'absent')
        if there != here:
          raise UserError(
            f'{where} is of another network: {name} is {there} there and {here} here: {remedy}.'
          )


def _shapes(tree: Any) -> list[tuple[int, ...]]:
  return [tuple(leaf.shape) for leaf in jax.tree.leaves(tree) if hasattr(leaf, 'shape')]


@contextlib.contextmanager
def _reading(checkpoint: Path) -> Iterator[None]:
  """Turns whatever a damaged checkpoint raises into one sentence."""
  try:
    yield
  except (OSError, ValueError, KeyError, TypeError) as e:
    if isinstance(e, UserError):
      raise
    reason = str(e).splitlines()[0][:200] if str(e) else type(e).__name__
    raise UserError(
      f'checkpoint {checkpoint} is damaged ({reason}): remove that folder, or choose another one '
      'with --checkpoint.'
    ) from e


@contextlib.contextmanager
def _writing(directory: Path) -> Iterator[None]:
  """Turns a failure to write into one sentence that says what is safe."""
  try:
    yield
  except (OSError, ValueError) as e:
    # tensorstore reports the operating system's errors as ValueError with the text in it.
    from_system = re.search(r'([^:]*) \[os_error_code', str(e))
    if isinstance(e, OSError):
      reason = e.strerror or str(e)
    elif from_system:
      reason = from_system[1].strip()
    else:
      raise
    reason = 'the disk is full' if 'No space left' in reason else reason
    whole = sorted(int(path.name) for path in directory.glob('*') if path.name.isdigit())
    safe = f'step {whole[-1]} is safe' if whole else 'no earlier one exists'
    raise UserError(
      f'cannot write a checkpoint to {directory}: {reason}; {safe}: make room and run the same '
      'command to go on from there.'
    ) from e
