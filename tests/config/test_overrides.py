"""Settings on the command line: which one is meant, and all of them as flags."""

import shlex

import pytest
from absl import flags
from ml_collections import config_flags

from pspnet_jax.config import overrides
from pspnet_jax.config.defaults import defaults
from pspnet_jax.errors import UserError


@pytest.mark.parametrize(
  ('typed', 'meant'),
  [
    ('optimizer.lr', 'optimizer.base_lr'),  # in letters, min_lr is nearer
    ('lr', 'optimizer.base_lr'),
    ('base_lr', 'optimizer.base_lr'),
    ('optimiser.base_lr', 'optimizer.base_lr'),
    ('model.batch_size', 'batch_size'),
    ('evl.batch_size', 'eval.batch_size'),
    ('batchsize', 'batch_size'),
    ('eval.batchsize', 'eval.batch_size'),
    ('steps', 'total_steps'),
    ('model.dept', 'model.depth'),
    ('flip', 'eval.flip'),
    ('data.val.length', None),  # not data.val.split
    ('optimiser.momntum', 'optimizer.momentum'),
    ('qqqqqqqq', None),
  ],
)
def test_the_setting_that_was_meant_is_found(typed, meant):
  assert overrides.nearest(defaults(), typed) == meant


def test_every_synonym_leads_to_a_setting():
  last_names = {path.rpartition('.')[2] for path, _ in overrides.paths(defaults())}
  assert set(overrides.SYNONYMS.values()) <= last_names
  assert not set(overrides.SYNONYMS) & last_names


def test_a_setting_that_does_not_exist_is_answered_with_the_whole_flag():
  overrides.check(defaults(), 'optimizer.base_lr', '=1')
  with pytest.raises(UserError, match=r'mean --config\.optimizer\.base_lr=0\.1\?'):
    overrides.check(defaults(), 'optimizer.lr', '=0.1')
  with pytest.raises(UserError, match=r'model\.bins has no keys of its own'):
    overrides.check(defaults(), 'model.bins.first', '=1')


def test_only_yes_or_no_stands_without_a_value():
  c = defaults()
  assert overrides.is_switch(c, 'model.remat') and overrides.is_switch(c, 'eval.flip')
  assert not overrides.is_switch(c, 'batch_size') and not overrides.is_switch(c, 'model.bins')


@pytest.mark.parametrize(
  ('key', 'typed', 'parsed'),
  [
    ('callbacks', 'mine:Tracker', "('mine:Tracker',)"),
    ('callbacks', 'a.b:C,d:E', "('a.b:C', 'd:E')"),
    ('callbacks', 'mine:Tracker,', "('mine:Tracker',)"),
    ('model.fixed_batch_stats', 'backbone/stage1', "('backbone/stage1',)"),
    ('callbacks', "('a:B',)", "('a:B',)"),
    ('callbacks', '()', '()'),
    ('crop_size', '33,49', '33,49'),
    ('data.name', 'a,b', 'a,b'),
    ('eval.scales', '0.5,1', '0.5,1'),
  ],
)
def test_words_need_no_quotes(key, typed, parsed):
  assert overrides.words_quoted(defaults(), key, typed) == parsed


def test_the_list_of_settings_is_a_command_line_that_gives_them_back():
  c = defaults()
  c.optimizer.base_lr, c.crop_size, c.model.bins, c.eval.scales = 0.125, (33, 49), (), (0.5,)
  c.data.name, c.data_errors = "it's", 'skip'
  lines = list(overrides.as_flags(c))
  given = [word for line in lines if '=' in line for word in shlex.split(line)]
  assert '--config.eval.flip  (not set)' in lines and len(lines) == len(dict(overrides.paths(c)))
  again, values = defaults(), flags.FlagValues()
  config_flags.DEFINE_config_dict('config', again, flag_values=values, sys_argv=['x', *given])
  values(['x', *given])
  assert values.config.to_dict() == c.to_dict()
