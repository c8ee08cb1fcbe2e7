"""Paths in the config that a workdir keeps."""

import json
from pathlib import Path

import pytest

from pspnet_jax.config import files, kept_paths, parts
from pspnet_jax.config.defaults import defaults
from pspnet_jax.errors import UserError
from tests import own
from tests.weights import packs


def kept(config, workdir):
  workdir.mkdir(exist_ok=True)
  files.keep_config(config, workdir)
  return json.loads((workdir / 'config.json').read_text())


def test_paths_are_kept_absolute(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv('HOME', str(tmp_path / 'home'))
  c = defaults()
  c.data.root, c.data.val.root, c.data.list_file = 'd3', '~/d4', 'list.txt'
  c.init_from = 'weights/x.pth'
  saved = kept(c, tmp_path / 'run')
  assert saved['data']['root'] == str(tmp_path / 'd3')
  assert saved['data']['val']['root'] == str(tmp_path / 'home' / 'd4')
  assert saved['data']['list_file'] == 'list.txt' and saved['data']['classes'] == 'classes.txt'
  assert saved['init_from'] == str(tmp_path / 'weights' / 'x.pth')
  assert (c.data.root, c.init_from) == ('d3', 'weights/x.pth')  # as given, to be printed
  assert files.keep_config(c, tmp_path / 'run') == []


@pytest.mark.parametrize(
  ('given', 'expected'),
  [
    ('resnet50_v1c', 'resnet50_v1c'),
    ('a.pth,~/b.pth', '{here}/a.pth,{here}/home/b.pth'),
    ('/x/y', '/x/y'),
    ('', ''),
  ],
)
def test_weights_to_start_from_are_files_or_a_name(given, expected, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv('HOME', str(tmp_path / 'home'))
  c = defaults()
  c.data.root, c.init_from = 'x', given
  assert kept(c, tmp_path / 'run')['init_from'] == expected.format(here=tmp_path)


class Own(own.Keyed):
  def __init__(self, split, *, folder: Path | None = None, **options):
    super().__init__(split, **options)


def test_a_source_of_ones_own_says_by_its_annotation_what_is_a_path(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  c = defaults({'data': 'tests.config.test_kept_paths:Own'})
  c.data.folder, c.data.other = 'x', 'x'
  saved = kept(c, tmp_path / 'run')['data']
  assert (saved['folder'], saved['other']) == (str(tmp_path / 'x'), 'x')


def test_a_folder_that_is_gone_is_told_with_the_file_that_names_it(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  saved = tmp_path / 'run' / 'config.json'
  c = defaults()
  c.data.root = str(tmp_path / 'gone')
  says = f'/gone, the data.root of {saved}, does not exist: give --config.data.root=FOLDER'
  with pytest.raises(UserError) as caught:
    kept_paths.check(c, saved, {})
  assert says in str(caught.value)
  kept_paths.check(c, saved, {'data.root': 'elsewhere'})
  c.data.root = 'gone'  # as workdirs of earlier versions have it
  with pytest.raises(UserError, match=rf'does not exist, seen from {tmp_path}: give'):
    kept_paths.check(c, saved, {})
  (tmp_path / 'gone').mkdir()
  kept_paths.check(c, saved, {})


def test_the_data_of_a_packed_config_are_no_folder_that_happens_to_be_called_so(
  tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  saved = packs.write(tmp_path / 'p') / 'config.json'
  (tmp_path / 'streets').mkdir()
  c = defaults()
  for c.data.root in ('streets', str(tmp_path / 'streets')):
    with pytest.raises(UserError) as caught:
      kept_paths.check(c, saved, {})
    assert f'{saved} does not say where on this machine the data.root is' in str(caught.value)
    assert str(caught.value).endswith('streets: give --config.data.root=FOLDER.')
  kept_paths.check(c, saved, {'data.root': 'streets'})


def test_a_tilde_in_any_option_of_the_data_is_the_home_folder(tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  c = defaults()
  c.data.root, c.data.classes = '~/nothing', '~/classes.txt'
  with pytest.raises(UserError, match=rf'data folder {tmp_path}/nothing does not exist'):
    parts.open_split(c, 'train')
  (tmp_path / 'nothing').mkdir()
  with pytest.raises(UserError, match=rf'{tmp_path}/classes.txt'):
    parts.open_split(c, 'train')
