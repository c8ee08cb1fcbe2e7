"""One checkpoint on the disk: read, and compared with what is expected of it."""

from __future__ import annotations

import functools
import json
import sys
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
from pspnet_jax.runtime import streams
from pspnet_jax.weights.checkpoint_faults import Damaged, reading
from pspnet_jax.weights.checkpoint_manager import ITEMS, reader
from pspnet_jax.weights.digests import digest
from pspnet_jax.weights.loaded import Loaded
from pspnet_jax.weights.step_folders import METADATA, SCORES

# What a network without batch normalisation has for statistics; Orbax stores no empty item.
NOTHING: dict[str, Any] = {}
_BY_NAME = ('params', 'batch_stats', 'ema_params')
_DIGESTS, _STEP, _SCORED = 'digests', 'step', 'scored'


def custom_metadata(
  step: int, items: Mapping[str, Any], card: Card, *, scored: bool
) -> dict[str, Any]:
  """What goes with a checkpoint so that `StoredStep` notices when its files have changed."""
  digests = {name: digest(x) for name, x in items.items()} | {'card': _json_digest(card.to_json())}
  return {_DIGESTS: digests, _STEP: step, _SCORED: scored}


class StoredStep:
  """A checkpoint. Reading it waits for no other process.

  Args:
    path: its folder, named after the step.

  Raises:
    Damaged: (all methods) if something cannot be read, or is not what was written.
  """

  def __init__(self, path: Path):
    self._path, self.step = path, int(path.name)

  def card(self) -> Card:
    """What the network is."""
    expected = self._expected('card')
    with reading(self._path):
      values = self._read({'card': ocp.args.JsonRestore()})['card']
      if expected not in (None, _json_digest(values)):
        raise Damaged(self._path, 'its card is not what was written')
      return Card.from_json(values)

  def load(self, build: Callable[[Card], Network | None], *, ema: bool = True) -> Loaded:
    """The card and the arrays; arguments are those of `Checkpoints.load`."""
    card = self.card()
    network, average = build(card), ema if self.has_average else None
    return Loaded(self.step, card, network, *self.weights(network, ema=ema), average)

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

  def verified(self) -> dict[str, str]:
    """The digest of each item, once all are read and compared with those they had."""
    self.card()
    stored = {item: x.tree for item, x in self._metadata.items() if item in ITEMS and x is not None}
    return self._read_verified(stored)[1]

  def items(
    self, wanted: Mapping[str, Any], sharding: Sharding
  ) -> tuple[dict[str, Any], dict[str, str]]:
    """The items of the structures of `wanted`, which are as they were written, and their digests.

    Raises:
      UserError: if they are of another network or optimiser; the first difference is named.
    """
    stored = self._metadata
    try:
      _check_fits(self._path, wanted, stored)
    except UserError:  # a damaged description of what is stored fits nothing either
      self._read_verified(
        {item: x.tree for item, x in stored.items() if item in wanted and x is not None}
      )
      raise
    as_stored = {item: x for item, x in sorted(wanted.items()) if x != NOTHING}
    restored, found = self._read_verified(
      {item: x if item == 'opt_state' else stored[item].tree for item, x in as_stored.items()}
    )
    if not self._digests and jax.process_index() == 0:
      what = 'was written before checkpoints had checksums: nothing tells whether it is sound'
      streams.show(f'Warning: checkpoint {self._path} {what}.', sys.stderr)
    place = functools.partial(_placed, sharding=sharding)
    return {item: jax.tree.map(place, restored[item], wanted[item]) for item in restored}, found

  @property
  def lost_score(self) -> bool:
    """Whether it was saved with a score, which is gone."""
    with reading(self._path):
      return bool(self._custom.get(_SCORED)) and not (self._path / SCORES).exists()

  def _read_verified(self, trees: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Items of these structures as NumPy arrays, compared with their digests, and the digests."""
    args = {
      item: ocp.args.StandardRestore(
        # What is asked for as NumPy's comes so; nothing is allocated for it.
        jax.tree.map(lambda x: np.broadcast_to(np.zeros((), x.dtype), x.shape), tree)
      )
      for item, tree in trees.items()
    }
    with reading(self._path):
      restored = self._read(args)
      found = {item: digest(restored[item]) for item in args}
    for item, value in found.items():
      if self._expected(item) not in (None, value):
        raise Damaged(self._path, f'the bytes of its {item} have changed')
    return restored, found

  def _read(self, args: Mapping[str, Any]) -> dict[str, Any]:
    restored = reader().restore(self._path, args=ocp.args.Composite(**args))
    return {item: restored[item] for item in args}

  @functools.cached_property
  def _metadata(self) -> dict[str, Any]:
    """Orbax's metadata of each item."""
    with reading(self._path):
      stored = dict(reader().metadata(self._path).item_metadata)
    for item in self._digests.keys() - {'card'}:
      if stored.get(item) is None:
        raise Damaged(self._path, f'its {item} cannot be found')
    for item, found in stored.items():
      if item in _BY_NAME and found is not None and not _is_by_name(found.tree):
        raise Damaged(self._path, f'its {item} are no arrays by name')
    return stored

  def _expected(self, item: str) -> str | None:
    """The digest that an item had; None in a checkpoint without any."""
    if self._digests and item not in self._digests:
      raise Damaged(self._path, f'the checksum of its {item} is gone')
    return self._digests.get(item)

  @property
  def _digests(self) -> dict[str, str]:
    """The digest of each item; none in a checkpoint that was written before there were any."""
    return self._custom.get(_DIGESTS, {})

  @functools.cached_property
  def _custom(self) -> dict[str, Any]:
    """What `custom_metadata` gave."""
    with reading(self._path):
      try:
        values = json.loads((self._path / METADATA).read_text(encoding='utf-8'))
        custom = dict(values.get('custom_metadata') or {})
        digests = dict(custom.get(_DIGESTS, {}))
      except (ValueError, TypeError, AttributeError) as e:
        raise Damaged(self._path, f'{METADATA} cannot be read') from e
    if custom and not digests:
      raise Damaged(self._path, f'what {METADATA} held of its checksums is gone')
    if (written := custom.get(_STEP, self.step)) != self.step:
      raise Damaged(self._path, f'it is that of step {written}')
    return custom


def _is_by_name(tree: Any) -> bool:
  return isinstance(tree, Mapping) and all(hasattr(x, 'shape') for x in tree.values())


def _placed(x: np.ndarray, wanted: Any, sharding: Sharding) -> jax.Array:
  """Brings to the devices what every process has read: they exchange nothing."""
  array = np.asarray(x, wanted.dtype)
  return jax.make_array_from_callback(array.shape, sharding, lambda index: np.asarray(array[index]))


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
      kept, ours = (sorted(_kinds(tree)) for tree in (found.tree, arrays))
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


def _kinds(tree: Any) -> list[str]:
  leaves = (leaf for leaf in jax.tree.leaves(tree) if hasattr(leaf, 'shape'))
  return [f'{leaf.dtype} {tuple(leaf.shape)}' for leaf in leaves]


def _json_digest(values: Any) -> str:
  text = json.dumps(values, sort_keys=True)
  return digest({'text': np.frombuffer(text.encode(), np.uint8)})
