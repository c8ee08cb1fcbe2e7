"""Settings on the command line: which one is meant, and all of them as flags."""

import shlex

import pytest

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
  ('key', 'typed', 'value'),
  [
    ('callbacks', 'mine:Tracker', ('mine:Tracker',)),
    ('callbacks', 'a.b:C,d:E', ('a.b:C', 'd:E')),
    ('callbacks', 'mine:Tracker,', ('mine:Tracker',)),
    ('model.fixed_batch_stats', 'backbone/stage1', ('backbone/stage1',)),
    ('callbacks', "('a:B',)", ('a:B',)),
    ('callbacks', "'a:B'", ('a:B',)),
    ('callbacks', '()', ()),
    ('callbacks', '', ()),
    ('crop_size', '33,49', (33, 49)),
    ('crop_size', '[33, 49]', (33, 49)),
    ('data.name', 'a,b', 'a,b'),
    ('eval.scales', '0.5,1', (0.5, 1)),
    ('data.class_names', 'traffic light,Straße', ('traffic light', 'Straße')),
    ('data.palette', '((0,0,0),(128,0,0))', ((0, 0, 0), (128, 0, 0))),
    ('data.ignore_ids', '7', (7,)),
    ('data.val.ignore_ids', '7,8', (7, 8)),
    ('data.val.split', 'test', 'test'),
    ('data.root', '1', '1'),
    ('total_steps', '3e4', 30_000),
    ('optimizer.base_lr', '1', 1.0),
    ('eval.flip', 'true', True),
    ('model.remat', '0', False),
    ('init_from', 'None', 'None'),
  ],
)
def test_a_value_is_read_as_its_setting_needs_it(key, typed, value):
  c = defaults()
  given = overrides.give(c, key, typed)
  assert given == value and type(given) is type(value)
  assert dict(overrides.paths(c))[key] == value


@pytest.mark.parametrize(
  ('key', 'typed', 'wanted'),
  [
    ('batch_size', 'four', 'a whole number'),
    ('batch_size', '1.5', 'a whole number'),
    ('batch_size', 'inf', 'a whole number'),
    ('batch_size', '', 'a whole number'),
    ('optimizer.base_lr', 'abc', 'a number'),
    ('model.remat', 'maybe', 'True or False'),
    ('crop_size', '((1', 'values with commas between them'),
    ('data.label_offset', '1.5', 'a whole number'),
  ],
)
def test_a_value_of_another_type_is_refused(key, typed, wanted):
  with pytest.raises(UserError, match=rf'--config\.{key}=.* is of the wrong type: give {wanted}\.'):
    overrides.give(defaults(), key, typed)


def test_a_group_has_no_value():
  with pytest.raises(UserError, match=r'model is a group of settings: .*--config\.model\.\w+='):
    overrides.give(defaults(), 'model', '{}')


def test_the_list_of_settings_is_a_command_line_that_gives_them_back():
  c = defaults()
  c.optimizer.base_lr, c.crop_size, c.model.bins, c.eval.scales = 0.125, (33, 49), (), (0.5,)
  c.data.name, c.data_errors = "it's", 'skip'
  c.data.class_names, c.data.palette = ('a', 'b c'), ((1, 2, 3), (4, 5, 6))
  lines = list(overrides.as_flags(c))
  given = [word for line in lines if '=' in line for word in shlex.split(line)]
  assert '--config.eval.flip  (not set)' in lines and len(lines) == len(dict(overrides.paths(c)))
  again = defaults()
  for word in given:
    key, _, text = word.removeprefix('--config.').partition('=')
    overrides.give(again, key, text)
  assert again.to_dict() == c.to_dict()
