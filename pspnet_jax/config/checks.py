"""Values of a config that would only fail later, or never and do harm."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import ml_collections

from pspnet_jax.errors import UserError
from pspnet_jax.inference.protocol import PLAIN

PROTOCOL_KEYS = (  # of config.eval
  *('protocol', 'base_size', 'scales', 'window', 'whole_images', 'stride', 'flip'),
  'absent_classes',
)


def protocol_changes(given: Mapping[str, Any]) -> dict[str, Any]:
  """What `given`, keys of config.eval, says of the protocol: arguments of `Protocol.changed`."""
  changes = {key: given[key] for key in PROTOCOL_KEYS if given.get(key) is not None}
  if changes.pop('whole_images', False):
    changes['window'] = 'image'
  return changes


def check_values(config: ml_collections.ConfigDict) -> None:
  """Raises UserError for a value that would only fail later, or never and do harm."""
  c = config

  def need(condition: bool, key: str, value: object, remedy: str) -> None:
    if not condition:
      raise UserError(f'config.{key} is {value!r}: {remedy}.')

  for key in ('batch_size', 'total_steps', 'accumulation_steps', 'log_every'):
    need(c[key] >= 1, key, c[key], 'make it at least 1')
  at_least_0 = ('eval_every', 'checkpoint_every', 'threads', 'pictures', 'seed', 'aux_weight')
  for key in (*at_least_0, 'early_stopping'):
    need(c[key] >= 0, key, c[key], 'make it 0 or more')
  need(0 <= c.ema_decay < 1, 'ema_decay', c.ema_decay, 'give a number in [0, 1)')
  if 'base_lr' in c.optimizer:  # not where a workdir's own optimiser is not named
    need(c.optimizer.base_lr > 0, 'optimizer.base_lr', c.optimizer.base_lr, 'make it positive')
  need(c.eval.batch_size >= 0, 'eval.batch_size', c.eval.batch_size, 'make it 0 or more')
  need(c.eval.canvas_mb >= 1, 'eval.canvas_mb', c.eval.canvas_mb, 'make it at least 1')
  need(c.data_errors in ('raise', 'skip'), 'data_errors', c.data_errors, "give 'raise' or 'skip'")
  for key, value in c.sampling.items():
    need(0 <= value < math.inf, f'sampling.{key}', value, 'make it 0 or more')
  if c.loss.name == 'segmentation':
    # Here, so that `--help` and commands without a config need not wait for JAX.
    from pspnet_jax.training.losses import SegmentationLoss

    SegmentationLoss(**{key: value for key, value in c.loss.items() if key != 'name'})
  for key in ('mean', 'std'):
    need(_numbers(c[key], 3), key, c[key], 'give three numbers, for red, green and blue')
  need(min(c.std) > 0, 'std', c.std, 'make all three positive')
  need(_integers(c.crop_size, 2), 'crop_size', c.crop_size, 'give height and width, as 473,473')
  PLAIN.changed(**protocol_changes(c.eval))  # checks its fields itself
  for key in ('bins', 'stem_channels', 'dilations'):
    value = c.model.get(key, ())  # a network of one's own may have other keys
    need(
      (key == 'dilations' and value is None) or _integers(value),
      f'model.{key}',
      value,
      'give whole numbers, as 1,2,3,6',
    )


def _numbers(values: object, length: int) -> bool:
  return (
    isinstance(values, tuple)
    and len(values) == length
    and all(isinstance(x, int | float) for x in values)
  )


def _integers(values: object, length: int | None = None) -> bool:
  return (
    isinstance(values, tuple)
    and length in (None, len(values))
    and all(isinstance(x, int) for x in values)
  )
