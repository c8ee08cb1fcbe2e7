"""The code of docs/extending.md runs: written into files, named by flags, passed in Python."""

import re
import sys
import types

import numpy as np
import pytest
from PIL import Image

from tests import tiny
from tests.command_lines import Job, results

PAGE = (tiny.ROOT / 'docs/extending.md').read_text()
TINY = ('total_steps=2', 'batch_size=2', 'crop_size=33,49', 'log_every=1', 'pictures=1')
TINY_MODEL = ('depth=10', 'stem_channels=4,4,8', 'width=4', 'head_channels=8', 'aux_channels=8')


def blocks(title: str) -> list[str]:
  found = re.findall(r'^```python\n(# .*?)\n(.*?)^```', PAGE, re.MULTILINE | re.DOTALL)
  return [code for head, code in found if head == f'# {title}']


@pytest.fixture
def folder(tmp_path):
  """A folder with `mine.py` of the page, and the data that it reads."""
  (tmp_path / 'mine.py').write_text('\n'.join(blocks('mine.py')))
  (tmp_path / 'own.py').write_text(*blocks('own.py'))
  rng = np.random.default_rng(0)
  for split in ('train', 'val'):
    (tmp_path / 'data' / split).mkdir(parents=True)
    for name in 'ab':
      image = rng.integers(0, 256, (40, 60, 3), np.uint8)
      Image.fromarray(image).save(tmp_path / 'data' / split / f'{name}.jpg')
      label = rng.integers(0, 3, (40, 60), np.uint8)
      Image.fromarray(label).save(tmp_path / 'data' / split / f'{name}_mask.png')
  return tmp_path


def test_every_block_of_code_is_run():
  titles = ('mine.py', 'own.py', 'a config', 'in a notebook')
  assert PAGE.count('```python') == sum(len(blocks(title)) for title in titles)


def test_every_test_that_it_names_is_there():
  named = re.findall(r'`(tests/[^`]*)`', PAGE)
  assert len(named) >= 6
  for path in named:
    assert (tiny.ROOT / path).is_file(), path


def test_the_tfds_config_is_a_config(tmp_path):
  from pspnet_jax.config import files

  [code] = blocks('a config')
  (tmp_path / 'pets.py').write_text(code)
  assert files.load(str(tmp_path / 'pets.py')).data.dataset == 'oxford_iiit_pet'


@pytest.mark.parametrize('name', ['wandb', 'mlflow'])
def test_trackers_are_told_what_is_logged(folder, monkeypatch, name):
  told = []

  def log(values, step):
    told.append((step, values))

  fake = types.ModuleType(name)
  fake.init = lambda project: types.SimpleNamespace(log=log)
  fake.start_run, fake.log_metrics = (lambda: None), log
  monkeypatch.setitem(sys.modules, name, fake)
  mine: dict = {}
  exec((folder / 'mine.py').read_text(), mine)
  tracker = mine[{'wandb': 'WeightsAndBiases', 'mlflow': 'MLflow'}[name]]()
  tracker.on_start(0, {})
  tracker.on_log(2, {'train/loss': 1.0})
  tracker.on_evaluate(4, {'val/mIoU': 0.5})
  assert told == [(2, {'train/loss': 1.0}), (4, {'val/mIoU': 0.5})]


@pytest.mark.slow
def test_all_of_it_trains_evaluates_predicts_and_loads(folder, monkeypatch):
  [commands] = re.findall(r'^```\n(pspnet train.*?)^```', PAGE, re.MULTILINE | re.DOTALL)
  places = {'=DIR': '=run', '=FILE_OR_FOLDER': '=data/val/a.jpg', '=OUT': '=out'}
  for name, place in places.items():
    commands = commands.replace(name, place)
  train, evaluate, predict = (line.split()[1:] for line in commands.splitlines())
  changes = [f'--config.{change}' for change in TINY]
  changes += [f'--config.model.{change}' for change in TINY_MODEL]
  lines = [*train, *changes], ('evaluate', '--workdir=run'), evaluate, predict
  answers = results([Job(line, str(folder), run=True) for line in lines])
  assert [status for status, _ in answers] == [0, 1, 0, 0], answers
  assert 'mine:' in answers[1][1], 'what a workdir names is not imported'
  assert (folder / 'scores.txt').read_text().startswith('2 ')
  assert (folder / 'out/labels/a.png').is_file()

  monkeypatch.syspath_prepend(str(folder))
  # Another test may have a module of this name, and shall not find this one.
  monkeypatch.setitem(sys.modules, 'mine', None)
  del sys.modules['mine']
  notebook = {'workdir': folder / 'run', 'image': str(folder / 'data/val/a.jpg')}
  for code in blocks('in a notebook'):
    exec(code, notebook)
  assert notebook['label'].shape == (40, 60)
  assert notebook['model'].card.protocol.flip and notebook['card'].protocol.scales == (0.5, 1.0)
