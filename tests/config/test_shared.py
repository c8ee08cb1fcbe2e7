"""A run's config as others get to see it."""

import json

from pspnet_jax.config import files, shared
from tests import tiny


def test_folders_of_the_author_are_not_shown(tmp_path):
  config = tiny.config(tmp_path, init_from='/home/me/runs/a,~/b.pth')
  config.data = {'name': 'folder', 'root': '/home/me/secret/streets', 'class_names': ('a', 'b')}
  config.data.train, config.data.val = {'split': 'train'}, {'split': 'val'}
  files.save(config, tmp_path / 'config.json')
  values, lines = shared.shared(tmp_path / 'config.json')
  assert values['data']['root'] == 'streets' and values['init_from'] == 'a,b.pth'
  text = json.dumps(values) + ' '.join(lines)
  assert 'home' not in text and '~' not in text
  assert '--config.data.root=streets' in lines and '--config.init_from=a,b.pth' in lines


def test_only_settings_that_are_not_the_defaults_are_listed(tmp_path):
  files.save(tiny.config(tmp_path), tmp_path / 'config.json')
  _, lines = shared.shared(tmp_path / 'config.json')
  assert '--config.total_steps=6' in lines and '--config.model.width=4' in lines
  assert not [line for line in lines if 'base_lr' in line or 'not set' in line]


def test_code_of_ones_own_is_named_and_not_imported(tmp_path):
  config = tiny.config(tmp_path).to_dict()
  config['model'] = {'name': 'nowhere.net:Net', 'width': 4}
  (tmp_path / 'config.json').write_text(json.dumps(config))
  values, lines = shared.shared(tmp_path / 'config.json')
  assert values['model']['name'] == 'nowhere.net:Net'
  assert '--config.model.name=nowhere.net:Net' in lines


def test_data_are_called_by_the_name_of_their_folder():
  data = {'name': 'folder', 'root': '/home/me/streets/', 'train': {}, 'val': {'root': 'night'}}
  assert shared.data_name({'data': data}, 'train') == 'streets'
  assert shared.data_name({'data': data}, 'val') == 'night'
  assert shared.data_name({'data': {'name': 'ade20k', 'root': 'x', 'val': None}}, 'val') == 'ade20k'
  assert shared.images(1007, 1) == '1,007 images (1 left out as unusable)'
  assert shared.images(8, 0) == '8 images'
