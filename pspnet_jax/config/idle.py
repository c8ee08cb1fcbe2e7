"""Settings that were changed and do nothing, because another one switches them off."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ml_collections

from pspnet_jax.config.defaults import CHOICES, defaults

_OFF = (0, False, (), None)
# What does nothing, and while which setting has which values.
_SWITCHES: tuple[tuple[str, str, tuple[Any, ...]], ...] = (
  ('sampling.rare_class_pixels', 'sampling.rare_class_temperature', _OFF),
  ('loss.class_weights', 'loss.cross_entropy', _OFF),
  ('loss.ohem_min_kept', 'loss.cross_entropy', _OFF),
  ('loss.ohem_threshold', 'loss.ohem_min_kept', _OFF),
  ('loss.focal_gamma', 'loss.focal', _OFF),
  ('loss.dice_smooth', 'loss.dice', _OFF),
  ('optimizer.warmup_start', 'optimizer.warmup_steps', _OFF),
  ('optimizer.milestone_factor', 'optimizer.milestones', _OFF),
  ('augment.rotate', 'augment.rotate_probability', _OFF),
  ('model.pyramid_channels', 'model.reduce_dimension', _OFF),
  ('model.pyramid_channels', 'model.bins', _OFF),
  ('model.pooling', 'model.bins', _OFF),
  ('model.aux_channels', 'model.aux_head', _OFF),
  ('aux_weight', 'model.aux_head', _OFF),
  ('early_stopping', 'eval_every', _OFF),
  ('eval.window', 'eval.whole_images', (True,)),
  ('eval.padding', 'eval.whole_images', (True,)),
  ('eval.stride', 'eval.whole_images', (True,)),
  ('eval.blend', 'eval.whole_images', (True,)),
  ('eval.base_size', 'eval.protocol', ('plain',)),
)


def notes(config: ml_collections.ConfigDict) -> Iterator[str]:
  """Yields a sentence for each setting that was changed and does nothing."""
  names = {group: config[group].name for group in CHOICES if 'name' in config[group]}
  usual = _values(defaults(names))
  values = _values(config)
  for key, switch, off in _SWITCHES:
    if key not in values or switch not in values or values[key] in (*_OFF, usual.get(key)):
      continue
    if values[switch] in off:
      yield f'config.{key} does nothing while config.{switch} is {values[switch]!r}.'


def _values(config: ml_collections.ConfigDict) -> dict[str, Any]:
  keys = {key for switch in _SWITCHES for key in switch[:2]}
  found = {}
  for path in keys:
    group, _, name = path.rpartition('.')
    options = config.get(group, {}) if group else config
    if name in options:
      found[path] = options[name]
  return found
