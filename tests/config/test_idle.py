"""Settings that were changed and do nothing are told."""

import pytest

from pspnet_jax.config import idle
from pspnet_jax.config.defaults import defaults


def test_defaults_have_none():
  assert not [*idle.notes(defaults())]


@pytest.mark.parametrize(
  ('changes', 'says'),
  [
    ({'sampling.rare_class_pixels': 9}, 'sampling.rare_class_temperature is 0.0'),
    ({'loss.ohem_threshold': 0.5}, 'loss.ohem_min_kept is 0'),
    ({'loss.focal_gamma': 1.0}, 'loss.focal is 0.0'),
    ({'loss.class_weights': (1.0,), 'loss.cross_entropy': 0.0}, 'loss.cross_entropy is 0.0'),
    ({'optimizer.warmup_start': 0.5}, 'optimizer.warmup_steps is 0'),
    ({'model.aux_channels': 9, 'model.aux_head': False}, 'model.aux_head is False'),
    ({'model.pooling': 'max', 'model.bins': ()}, r'model.bins is \(\)'),
    ({'early_stopping': 9, 'eval_every': 0}, 'eval_every is 0'),
    ({'eval.stride': 0.5, 'eval.whole_images': True}, 'eval.whole_images is True'),
    ({'eval.base_size': (512,)}, "eval.protocol is 'plain'"),
  ],
)
def test_what_is_switched_off_is_told_with_its_switch(changes, says):
  c = defaults()
  c.update_from_flattened_dict(changes)
  [note] = idle.notes(c)
  first = next(iter(changes))
  assert note == f'config.{first} does nothing while config.{says}.'.replace('\\', '')


def test_a_network_of_ones_own_has_other_settings():
  c = defaults({'model': 'tests.own:AsppNet', 'loss': 'tests.own:Weighted'})
  c.optimizer.warmup_start = 0.5
  assert len([*idle.notes(c)]) == 1
