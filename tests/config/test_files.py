"""Configs: defaults, what files may change, and what is kept in the workdir."""

import inspect
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pspnet_jax.config import checks, files
from pspnet_jax.config.defaults import defaults
from pspnet_jax.data.augment import Augment
from pspnet_jax.errors import UserError
from pspnet_jax.models.pspnet import PSPNet
from pspnet_jax.training.losses import SegmentationLoss
from tests import tiny
from tests.mutations import EDITS, edited, ends_well, fuzz, mutated


def write(tmp_path, body):
  path = tmp_path / 'c.py'
  path.write_text(f'import ml_collections\n\ndef get_config(arg="x"):\n  return {body}\n')
  return str(path)


def test_defaults_stand_in_the_signatures_of_what_they_configure():
  c = defaults()
  parameters = inspect.signature(PSPNet.__init__).parameters
  assert {name: c.model[name] for name in ('bins', 'head_channels', 'remat')} == {
    name: parameters[name].default for name in ('bins', 'head_channels', 'remat')
  }
  assert set(c.model) - {'name', 'fixed_batch_stats', 'ghost_batch_size'} == (
    parameters.keys() - {'self', 'num_classes', 'rngs'}
  )
  assert c.model.dtype == 'float32'
  of_augment = set(inspect.signature(Augment).parameters) - {'crop_size', 'mean'}
  assert set(c.augment) == of_augment | {'transform'}
  assert set(c.loss) - {'name'} == set(inspect.signature(SegmentationLoss).parameters)
  for key in ('momentum', 'weight_decay', 'power', 'min_lr', 'base_lr'):
    assert key in c.optimizer
  c.model.dilations = (1, 1, 2, 4)  # None is a field of the annotated type
  c.optimizer.head_bias_multiplier = 20.0
  with pytest.raises(TypeError):
    c.model.pyramid_channels = 'many'


def test_a_file_changes_defaults_and_takes_an_argument(tmp_path):
  path = write(
    tmp_path, 'ml_collections.ConfigDict({"model": {"width": 7}, "data": {"root": arg}})'
  )
  c = files.load(f'{path}:here')
  assert (c.model.width, c.model.depth, c.data.root) == (7, 50, 'here')


@pytest.mark.parametrize(
  ('body', 'message'),
  [
    ('ml_collections.ConfigDict({"bach_size": 8})', 'did you mean batch_size?'),
    ('ml_collections.ConfigDict({"model": {"depht": 8}})', 'did you mean depth?'),
    ('ml_collections.ConfigDict({"batch_size": "many"})', 'batch_size'),
    ('ml_collections.ConfigDict({"qqqqqq": 8})', 'it knows accumulation_steps'),
    ('ml_collections.ConfigDict({"model": 5})', 'give a dictionary of its keys'),
    (
      'ml_collections.ConfigDict({"data": {"train": "train"}})',
      "sets data.train to 'train': give a d",
    ),
    ('ml_collections.ConfigDict({"eval": {"window": 473}})', 'give values with commas'),
    ('None', 'return a ConfigDict'),
    ('1 / 0', 'ZeroDivisionError'),
  ],
)
def test_what_does_not_fit_is_named(tmp_path, body, message):
  with pytest.raises(UserError, match=message.replace('?', r'\?')):
    files.load(write(tmp_path, body))


@pytest.mark.parametrize(
  ('name', 'message'),
  [
    ('camvid:foo', "'foo' is no argument of this file: give folder or prepared"),
    ('ade20k_pspnet50:foo', "ade20k_pspnet50.py has no row 'foo': give one of 50, 101."),
    ('ade20k_paper:table5-ensemble', 'table5-ensemble is no training: train table5-101 and'),
    ('context_scenes:foo', 'context_scenes.py takes no argument: leave out :foo.'),
    ('folder:foo', 'folder.py takes no argument: leave out :foo.'),
  ],
)
def test_an_argument_that_a_file_does_not_know_is_refused(name, message):
  with pytest.raises(UserError, match=re.escape(message)):
    files.load(name)


def test_a_config_of_the_package_goes_by_its_name(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert files.load('camvid:prepared').data.name == 'camvid'
  write(tmp_path, 'ml_collections.ConfigDict({"seed": 7})')
  (tmp_path / 'c.py').rename(tmp_path / 'camvid.py')
  assert files.load('camvid.py').seed == 7 and files.load('camvid').seed == 0


def test_a_file_without_get_config_is_named(tmp_path):
  (tmp_path / 'c.py').write_text('x = 1\n')
  with pytest.raises(UserError, match=r'does not give a config: AttributeError'):
    files.load(str(tmp_path / 'c.py'))


def test_what_is_saved_comes_back_equal(tmp_path):
  c = tiny.config(tmp_path)
  files.save(c, tmp_path / 'config.json')
  assert files.load_saved(tmp_path / 'config.json').to_dict() == c.to_dict()


@pytest.mark.parametrize(
  'content',
  [
    *(b'{', b'', b'[]', b'null', b'7', b'\xff', b'{"a.b": 1}', b'[' * 100_000, b' ' * 2_000_000),
    *(b'{"data": 5}', b'{"data": {"name": 5}}', b'{"callbacks": 5}', b'{"callbacks": [5]}'),
    *(b'{"model": {"name": "?a:b", "x": [[[[[[[[[[[[1]]]]]]]]]]]]}}', b'{"model": [1]}'),
    *(b'{"optimizer": {"base_lr": 1' + b'0' * 400 + b'}}', b'{"augment": {"transform": {}}}'),
  ],
)
def test_a_damaged_saved_config_is_named(content, tmp_path):
  (tmp_path / 'config.json').write_bytes(content)
  with pytest.raises(UserError, match=r'config\.json') as caught:
    files.load_saved(tmp_path / 'config.json')
  assert '\n' not in str(caught.value) and len(str(caught.value)) < 600


def read_and_check(path, content):
  path.write_bytes(content)
  c = files.load_saved(path)
  checks.check_values(c)
  checks.check_training(c)
  files.save(c, path)


SAVED = defaults().to_dict()


@fuzz
@given(content=mutated([json.dumps(SAVED).encode()]))
def test_a_saved_config_with_other_bytes_ends_in_a_sentence(content, tmp_path_factory):
  ends_well(read_and_check, tmp_path_factory.getbasetemp() / 'fuzz.json', content)


@fuzz
@given(edits=st.lists(EDITS, min_size=1, max_size=4))
def test_a_saved_config_of_nonsense_ends_in_a_sentence(edits, tmp_path_factory):
  content = json.dumps(edited(json.loads(json.dumps(SAVED)), edits)).encode()
  ends_well(read_and_check, tmp_path_factory.getbasetemp() / 'fuzz.json', content)


@pytest.mark.parametrize(
  ('name', 'steps', 'images', 'epochs', 'side'),
  [
    ('ade20k_pspnet50', 126_300, 20_210, 100, 473),
    ('voc2012_pspnet50', 33_050, 10_582, 50, 473),
    ('cityscapes_pspnet50', 37_000, 2_975, 200, 713),
  ],
)
def test_configs_of_published_data_follow_semseg(name, steps, images, epochs, side):
  path = tiny.ROOT / 'configs' / f'{name}.py'
  c = files.load(f'{path}:101')
  assert (c.model.depth, files.load(str(path)).model.depth) == (101, 50)
  assert c.total_steps == steps == images // c.batch_size * epochs
  assert c.crop_size == (side, side)


@pytest.mark.parametrize(
  ('key', 'value'),
  [
    ('total_steps', 0),
    ('batch_size', 0),
    ('accumulation_steps', 0),
    ('threads', -1),
    ('ema_decay', 1.5),
    ('std', (1.0, 2.0)),
    ('std', (1.0, 2.0, 0.0)),
    ('crop_size', (40,)),
    ('crop_size', (40.5, 40)),
    ('eval.batch_size', -1),
    ('model.bins', ('a',)),
    ('optimizer.base_lr', -0.1),
    ('data_errors', 'ignore'),
    ('loss.class_weights', (1.0, -1.0)),
    ('loss.class_weights', (1.0, float('nan'))),
    ('loss.class_weights', ('a',)),
    ('loss.class_weights', (0, 0)),
    ('loss.ohem_min_kept', -1),
    ('sampling.rare_class_temperature', -0.01),
    ('loss.ohem_threshold', 1.5),
  ],
)
def test_values_that_would_fail_later_fail_at_once(key, value):
  c = defaults()
  c.update_from_flattened_dict({key: value})
  with pytest.raises(UserError, match=f'config.{key} is'):
    checks.check_values(c)


def test_defaults_are_sound():
  checks.check_values(defaults())


def test_keys_that_have_gone_since_a_config_was_saved_are_left_out(tmp_path):
  c = defaults().to_dict()
  c['gone'], c['model']['gone'], c['data']['train']['list_file'] = 1, 2, None
  (tmp_path / 'config.json').write_text(json.dumps(c))
  saved = files.load_saved(tmp_path / 'config.json')
  assert 'gone' not in saved and 'gone' not in saved.model
  saved.data.train.list_file = 'a.txt'  # None is a field that can still be set


@pytest.mark.parametrize(
  ('key', 'value', 'says'),
  [
    ('window', (473,), r'window \(473,\) is not a height and a width'),
    ('padding', 'around', "padding 'around' is none of centre, end, none"),
    ('absent_classes', 'none', "absent_classes 'none' is none of exclude, zero"),
    ('protocol', 'semsg', "no evaluation protocol 'semsg': did you mean semseg"),
    ('base_size', (0,), r'base size \(0,\) is not'),
    ('scales', (), 'scales'),
    ('stride', 0.0, 'stride 0.0 is not in'),
  ],
)
def test_a_bad_protocol_is_refused_before_the_run(key, value, says):
  c = defaults()
  c.eval.protocol = 'caffe'
  c.eval[key] = value
  with pytest.raises(UserError, match=says):
    checks.check_values(c)
