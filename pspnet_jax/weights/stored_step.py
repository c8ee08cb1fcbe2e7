"""One checkpoint on the disk: read, and compared with what is expected of it."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.sharding import Sharding

from pspnet_jax.errors import UserError
from pspnet_jax.inference.card import Card
from pspnet_jax.models.network import Arrays, Network
from pspnet_jax.weights.checkpoint_faults import Damaged, reading
from pspnet_jax.weights.digests import digest
from pspnet_jax.weights.loaded import Loaded

# What a network without batch normalisation has for statistics; Orbax stores no empty item.
NOTHING: dict[str, Any] = {}
_METADATA = '_CHECKPOINT_METADATA'  # Orbax's, in each checkpoint; what is `custom` in it is ours
_DIGESTS = 'digests'


def custom_metadata(items: Mapping[str, Any], card: Card) -> dict[str, Any]:
  """What goes with a checkpoint so that `StoredStep` notices when its files have changed."""
  digests = {name: digest(x) for name, x in items.items()}
  return {_DIGESTS: digests | {'card': _json_digest(card.to_json())}}


class StoredStep:
  """A checkpoint.

  Args:
    manager: reads it.
    path: its folder, named after the step.

  Raises:
    Damaged: (all methods) if something cannot be read, or is not what was written.
  """

  def __init__(self, manager: ocp.CheckpointManager, path: Path):
    self._manager, self._path, self._step = manager, path, int(path.name)

  def card(self) -> Card:
    """What the network is."""
    expected = self._digests.get('card')
    with reading(self._path):
      args = ocp.args.Composite(card=ocp.args.JsonRestore())
      values = self._manager.restore(self._step, args=args)['card']
      card = Card.from_json(values)
    if expected not in (None, _json_digest(values)):
      raise Damaged(self._path, 'its card is not what was written')
    return card

  def load(self, build: Callable[[Card], Network | None], *, ema: bool = True) -> Loaded:
    """The card and the arrays; arguments are those of `Checkpoints.load`."""
    card = self.card()
    network, average = build(card), ema if self.has_average else None
    return Loaded(self._step, card, network, *self.weights(network, ema=ema), average)

  @property
  def has_average(self) -> bool:
    """Whether a moving average of the parameters was kept beside them."""
    return self._metadata.get('ema_params') is not None

  def weights(self, network: Network | None, *, ema: bool = True) -> tuple[Arrays, Arrays, str]:
    """Parameters, batch statistics, and a digest of both.

    Args:
      network: what they have to be of; None takes them as they are stored, by their names.
      ema: whether to take the parameters' moving average, where one was kept.

    Raises:
      UserError: if the checkpoint is of another network; the first difference is named.
    """
    stored = self._metadata
    params = 'ema_params' if ema and self.has_average else 'params'
    wanted: dict[str, Any]
    if network is None:
      items = (params, 'batch_stats')
      wanted = {item: dict(stored[item].tree) for item in items if stored.get(item) is not None}
      if params not in wanted:
        raise Damaged(self._path, 'its params are gone')
    else:
      wanted = {params: network.param_shapes, 'batch_stats': network.batch_stat_shapes}
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    restored, digests = self.items(wanted, device)
    return restored[params], restored.get('batch_stats', NOTHING), ' '.join(digests.values())

  def items(
    self, wanted: Mapping[str, Any], sharding: Sharding
  ) -> tuple[dict[str, Any], dict[str, str]]:
    """The items of the structures of `wanted`, which are as they were written, and their digests.

    Raises:
      UserError: if they are of another network or optimiser; the first difference is named.
    """
    stored = self._metadata
    _check_fits(self._path, wanted, stored)
    wanted = jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), dict(wanted)
    )
    args = {n: ocp.args.StandardRestore(x) for n, x in wanted.items() if x != NOTHING}
    with reading(self._path):
      restored = self._manager.restore(self._step, args=ocp.args.Composite(**args))
    found = {item: digest(restored[item]) for item in args}
    for item in args:
      same = self._digests.get(item) in (None, found[item])
      # Arrays that were read as of another type are other bytes.
      if not same and _dtypes(stored[item].tree) == _dtypes(restored[item]):
        raise Damaged(self._path, f'the bytes of its {item} have changed')
    return {item: restored[item] for item in args}, found

  @functools.cached_property
  def _metadata(self) -> dict[str, Any]:
    """Orbax's metadata of each item."""
    with reading(self._path):
      stored = dict(self._manager.item_metadata(self._step))
    for item in self._digests.keys() - {'card'}:
      if stored.get(item) is None:
        raise Damaged(self._path, f'its {item} cannot be found')
    return stored

  @functools.cached_property
  def _digests(self) -> dict[str, str]:
    """The digest of each item; none in a checkpoint that was written before there were any."""
    with reading(self._path):
      values = json.loads((self._path / _METADATA).read_text(encoding='utf-8'))
      return dict((values.get('custom_metadata') or {}).get(_DIGESTS, {}))


def _check_fits(checkpoint: Path, wanted: Mapping[str, Any], stored: Mapping[str, Any]) -> None:
  """Compares names and shapes of arrays by name with what is stored.

  Args:
    checkpoint: its folder, for messages.
    wanted: trees of arrays by item.
    stored: Orbax's metadata of the items.

  Raises:
    UserError: for the first difference.
  """
  where = f'checkpoint {checkpoint}'
  remedy = 'use the config it was trained with, or another workdir'
  workdir = checkpoint.parent.parent
  if 'opt_state' in wanted and stored.get('opt_state') is None and stored.get('params'):
    raise UserError(
      f'{where} holds weights without an optimiser: start from them in another workdir with '
      f'--config.init_from={workdir}.'
    )
  for item, arrays in wanted.items():
    found = stored.get(item)
    if found is None and arrays == NOTHING:
      continue
    if found is None:
      raise UserError(f'{where} has no {item}: it is damaged, or {remedy}.')
    if item == 'opt_state':
      kept, ours = (sorted(_shapes(tree)) for tree in (found.tree, arrays))
      if kept != ours:
        raise UserError(
          f'{where} is of another optimiser, or of one that froze other parts: go on with the '
          'config.optimizer it was trained with, or start from it in another workdir with '
          f'--config.init_from={workdir}.'
        )
      continue
    theirs = {name: tuple(array.shape) for name, array in found.tree.items()}
    shapes = {name: tuple(array.shape) for name, array in arrays.items()}
    for name in sorted(theirs.keys() | shapes.keys()):
      there, here = theirs.get(name, 'absent'), shapes.get(name, 'absent')
      if there != here:
        raise UserError(
          f'{where} is of another network: {name} is {there} there and {here} here: {remedy}.'
        )


def _shapes(tree: Any) -> list[tuple[int, ...]]:
  return [tuple(leaf.shape) for leaf in jax.tree.leaves(tree) if hasattr(leaf, 'shape')]


def _dtypes(tree: Any) -> list[str]:
  return sorted(str(leaf.dtype) for leaf in jax.tree.leaves(tree) if hasattr(leaf, 'dtype'))


def _json_digest(values: Any) -> str:
  text = json.dumps(values, sort_keys=True)
  return digest({'text': np.frombuffer(text.encode(), np.uint8)})
