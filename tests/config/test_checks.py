"""Values that no run can mean are refused, whichever setting has them."""

import re

import pytest

from pspnet_jax.config import checks, overrides, parts
from pspnet_jax.config.defaults import defaults
from pspnet_jax.errors import UserError

NAN, INF = float('nan'), float('inf')


@pytest.mark.parametrize(
  ('key', 'value'),
  [
    ('min_lr', 1.0),
    ('min_lr', -0.1),
    ('power', -1.0),
    ('power', INF),
    ('base_lr', INF),
    ('base_lr', 0.0),
    ('warmup_steps', 150_000),
    ('warmup_steps', -1),
    ('warmup_start', 2.0),
    ('head_multiplier', -1.0),
    ('head_multiplier', INF),
    ('head_bias_multiplier', -1.0),
    ('layer_decay', 0.0),
    ('layer_decay', 2.0),
    ('weight_decay', -1.0),
    ('weight_decay', INF),
    ('momentum', 1.0),
    ('adamw.b1', 1.0),
    ('adamw.b2', -0.1),
    ('adamw.eps', 0.0),
    ('adamw.eps', INF),
  ],
)
def test_the_optimiser_takes_no_number_that_means_nothing(key, value):
  name, _, key = key.rpartition('.')
  c = defaults({'optimizer': name or 'sgd'})
  c.optimizer[key] = value
  with pytest.raises(UserError, match=rf'optimizer\.{key}'):
    checks.check_values(c)
    checks.check_training(c)
    parts.make_optimizer(c, {'backbone/stem/0/kernel': None, 'classifier/conv/bias': None})


@pytest.mark.parametrize('name', ['sgd', 'adamw'])
@pytest.mark.parametrize('value', [NAN, INF, -INF])
def test_no_number_is_nan_or_infinite(name, value):
  usual = defaults({'optimizer': name})
  changes = {path: value for path, x in overrides.paths(usual) if isinstance(x, float)}
  assert len(changes) > 20
  changes |= {'mean': (1.0, value, 1.0), 'std': (value, 1.0, 1.0), 'eval.scales': (1.0, value)}
  for path, wrong in changes.items():
    c = usual.copy_and_resolve_references()
    c.update_from_flattened_dict({path: wrong})
    with pytest.raises(UserError, match=re.escape(f'config.{path} is {value!r}: give a finite')):
      checks.check_values(c)


@pytest.mark.parametrize(
  ('key', 'value', 'says'),
  [
    ('augment.scale', ('a', 'b'), 'give two numbers with commas between them'),
    ('augment.scale', (1.0,), 'give two numbers'),
    ('augment.base_size', (1.5, 2.5), 'give two whole numbers'),
    ('eval.scales', ('a',), 'give numbers, as'),
    ('eval.scales', (True,), 'give numbers, as'),
    ('model.pooling', 'mean', "give 'avg' or 'max'"),
    ('model.bins', (1.5,), 'give whole numbers with commas'),
    ('model.stem_channels', ('a',), 'give whole numbers with commas'),
    ('loss.class_weights', ('a',), 'give '),
    ('optimizer.frozen', (1,), 'give texts with commas'),
    ('threads', 5000, 'make it 1024 at most'),
    ('seed', 2**64, 'make it less than'),
    ('total_steps', 2**40, 'make it less than'),
  ],
)
def test_values_have_the_types_that_signatures_say(key, value, says):
  c = defaults()
  c.update_from_flattened_dict({key: value})
  with pytest.raises(UserError, match=rf'config\.{key} is .*: {says}'):
    checks.check_values(c)


def test_float16_is_not_trained_in():
  c = defaults()
  c.model.dtype = 'float16'
  checks.check_values(c)  # a network that was is still evaluated
  with pytest.raises(UserError, match=r'model\.dtype is float16, .*: give bfloat16'):
    checks.check_training(c)
