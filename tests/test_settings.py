"""Configs: defaults, what files may change, and what is kept in the workdir."""

import inspect

import ml_collections
import pytest

from pspnet_jax import from_config, settings
from pspnet_jax.data.augment import Augment
from pspnet_jax.errors import UserError
from pspnet_jax.models.pspnet import PSPNet
from pspnet_jax.optim import sgd
from tests import tiny


def write(tmp_path, body):
  path = tmp_path / 'c.py'
  path.write_text(f'import ml_collections\n\ndef get_config(arg="x"):\n  return {body}\n')
  return str(path)


def test_defaults_name_every_argument_of_what_they_configure():
  c = settings.defaults()
  network = set(inspect.signature(PSPNet.__init__).parameters) - {'self', 'num_classes', 'rngs'}
  assert set(c.model) == network
  assert set(c.augment) == set(inspect.signature(Augment).parameters) - {'crop_size', 'mean'}
  schedule = {'base_lr', 'power', 'min_lr'}
  assert set(c.optimizer) - schedule == set(inspect.signature(sgd).parameters) - {
    'params',
    'schedule',
  }


def test_defaults_of_the_network_are_those_of_the_constructor():
  c = settings.defaults()
  parameters = inspect.signature(PSPNet.__init__).parameters
  for name, value in c.model.items():
    if name not in ('depth', 'dtype'):
      assert value == parameters[name].default, name


def test_a_file_changes_defaults_and_takes_an_argument(tmp_path):
  path = write(
    tmp_path, 'ml_collections.ConfigDict({"model": {"width": 7}, "data": {"root": arg}})'
  )
  c = settings.load(f'{path}:here')
  assert (c.model.width, c.model.depth, c.data.root) == (7, 50, 'here')


@pytest.mark.parametrize(
  ('body', 'message'),
  [
    ('ml_collections.ConfigDict({"bach_size": 8})', 'did you mean batch_size?'),
    ('ml_collections.ConfigDict({"model": {"depht": 8}})', 'did you mean depth?'),
    ('ml_collections.ConfigDict({"batch_size": "many"})', 'batch_size'),
    ('ml_collections.ConfigDict({"qqqqqq": 8})', 'it knows accumulation_steps'),
  ],
)
def test_what_does_not_fit_is_named(tmp_path, body, message):
  with pytest.raises(UserError, match=message.replace('?', r'\?')):
    settings.load(write(tmp_path, body))


def test_a_file_without_get_config_is_named(tmp_path):
  (tmp_path / 'c.py').write_text('x = 1\n')
  with pytest.raises(UserError, match=r'defines no get_config\(\)'):
    settings.load(str(tmp_path / 'c.py'))


def test_what_is_saved_comes_back_equal(tmp_path):
  c = tiny.config(tmp_path)
  settings.save(c, tmp_path / 'config.json')
  assert settings.load_saved(tmp_path / 'config.json').to_dict() == c.to_dict()


def test_a_damaged_saved_config_is_named(tmp_path):
  (tmp_path / 'config.json').write_text('{')
  with pytest.raises(UserError, match=r'config\.json'):
    settings.load_saved(tmp_path / 'config.json')


@pytest.mark.parametrize('path', sorted((tiny.ROOT / 'configs').glob('*.py')), ids=lambda p: p.stem)
def test_configs_of_the_project_load_and_build(path):
  c = settings.load(str(path))
  from_config.make_augment(c)
  assert f'--config=configs/{path.name}' in path.read_text()
  assert isinstance(c, ml_collections.ConfigDict)
