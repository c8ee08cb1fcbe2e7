"""Values of a config that would only fail later, or never and do harm."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

import ml_collections

from pspnet_jax.config.plain import first_not_finite, shown
from pspnet_jax.errors import UserError
from pspnet_jax.inference.protocol import PLAIN
from pspnet_jax.runtime import annotated

PROTOCOL_KEYS = (  # of config.eval
  *('protocol', 'base_size', 'scales', 'window', 'whole_images', 'stride', 'blend'),
  *('flip', 'padding', 'absent_classes'),
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
      raise UserError(f'config.{key} is {shown(value)}: {remedy}.')

  if found := first_not_finite(_shipped(c)):
    need(False, *found, 'give a finite number')
  for group in ('augment', 'model', 'optimizer', 'loss'):
    _check_types(c, group)
  for key in ('batch_size', 'total_steps', 'accumulation_steps', 'log_every'):
    need(c[key] >= 1, key, c[key], 'make it at least 1')
  need(c.total_steps < 2**31, 'total_steps', c.total_steps, 'make it less than 2147483648')
  need(c.seed < 2**63, 'seed', c.seed, 'make it less than 2 to the power of 63')
  need(c.threads <= 1024, 'threads', c.threads, 'make it 1024 at most')
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
    three = annotated.fits(c[key], tuple[float, float, float])
    need(three, key, c[key], 'give three numbers, for red, green and blue')
  need(min(c.std) > 0, 'std', c.std, 'make all three positive')
  two = annotated.fits(c.crop_size, tuple[int, int])
  need(two, 'crop_size', c.crop_size, 'give height and width, as 473,473')
  scales = c.eval.scales
  need(annotated.fits(scales, tuple[float, ...]), 'eval.scales', scales, 'give numbers, as 0.5,1')
  PLAIN.changed(**protocol_changes(c.eval))  # checks their ranges itself


def check_training(config: ml_collections.ConfigDict) -> None:
  """Raises UserError for what no training run can mean, before anything is opened."""
  from pspnet_jax.training import optim

  c = config
  if c.model.get('dtype') == 'float16':
    raise UserError(
      'config.model.dtype is float16, in which small gradients are 0 without loss scaling, and '
      'there is none here: give bfloat16, which takes as little memory, or float32.'
    )
  known = inspect.signature(optim.learning_rate).parameters
  rates = {key: value for key, value in c.optimizer.items() if key in known}
  if 'base_lr' in rates:
    optim.learning_rate(total_steps=c.total_steps, **rates)


def _shipped(config: ml_collections.ConfigDict) -> dict[str, Any]:
  """All settings but those of code of one's own, where infinity may mean something."""
  return {
    key: value.to_dict() if isinstance(value, ml_collections.ConfigDict) else value
    for key, value in config.items()
    if not (isinstance(value, ml_collections.ConfigDict) and ':' in str(value.get('name', '')))
  }


def _check_types(config: ml_collections.ConfigDict, group: str) -> None:
  """Compares what a group holds with the annotations of what it configures."""
  from pspnet_jax.config import defaults, signatures
  from pspnet_jax.data import augment

  name = config[group].get('name')
  known: Mapping[Any, Any] = (
    {None: augment.Augment} if group == 'augment' else defaults.CHOICES[group]
  )
  if name not in known:
    return
  for key, parameter in signatures.parameters_of(known[name]).items():
    value = config[group].get(key)
    if not annotated.fits(value, parameter.annotation):
      what = annotated.described(parameter.annotation)
      raise UserError(f'config.{group}.{key} is {shown(value)}: give {what}.')
