"""Every mistake a user can make ends in one sentence, a non-zero status, and nothing lost."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from pspnet_jax.errors import UserError
from pspnet_jax.evaluate import evaluate
from pspnet_jax.train import train
from tests import tiny

pytestmark = pytest.mark.usefixtures('one_device')


@pytest.mark.parametrize(
  ('arguments', 'expected'),
  [
    (['--config.batchsize=4'], 'did you mean --config.batch_size=4?'),
    (['--config.model.dept=4'], 'did you mean --config.model.depth=4?'),
    (['--config.batch_size=four'], 'batch_size'),
    (['extra'], "unexpected argument 'extra'"),
    (['--confg=x'], 'did you mean --config?'),
  ],
)
def test_command_line(tmp_path, arguments, expected):
  config, workdir = tiny.config_file(tmp_path), tmp_path / 'run'
  result = tiny.run('train', f'--config={config}', f'--workdir={workdir}', *arguments)
  assert_one_sentence(result, expected)
  assert not workdir.exists()


def assert_one_sentence(result, expected):
  assert result.returncode == 1
  assert expected in result.stderr
  assert 'Traceback' not in result.stderr and result.stderr.startswith('Error: ')
  assert result.stderr.count('\n') == 1


def test_what_is_advised_for_masks_of_0_and_255_works_when_it_is_typed(tmp_path):
  rng = np.random.default_rng(0)
  for split in ('train', 'val'):
    for kind, image in (
      ('images', rng.integers(0, 255, (40, 40, 3), np.uint8)),
      ('labels', np.repeat(np.uint8([[0, 255]]), 20, axis=1).repeat(40, axis=0)),
    ):
      (tmp_path / kind / split).mkdir(parents=True)
      Image.fromarray(image).save(tmp_path / kind / split / 'a.png')
  (tmp_path / 'classes.txt').write_text('ground\nroad\n')
  given = ['--config=folder', f'--config.data.root={tmp_path}', '--config.crop_size=33,33']
  result = tiny.run('train', *given, f'--workdir={tmp_path / "run"}')
  assert_one_sentence(result, "another class than 'ground'")
  [flag] = re.findall(r'--config\.data\.\S+(?=\.\n)', result.stderr)
  result = tiny.run('doctor', *given, flag)
  assert result.returncode == 0


def test_missing_config_file(tmp_path):
  result = tiny.run('train', '--config=nowhere.py', f'--workdir={tmp_path}')
  assert_one_sentence(
    result, 'there is no config file nowhere.py: give --config=FILE.py, or one of'
  )


def test_no_workdir_given(tmp_path):
  result = tiny.run('train', f'--config={tiny.config_file(tmp_path)}')
  assert_one_sentence(result, '--workdir')


@pytest.mark.parametrize('command', ['evaluate', 'predict'])
def test_workdir_without_checkpoints(tmp_path, command):
  more = [f'--input={tmp_path / "x.png"}', '--output=y'] if command == 'predict' else []
  (tmp_path / 'x.png').write_bytes(b'')
  result = tiny.run(command, f'--workdir={tmp_path / "empty"}', *more)
  assert_one_sentence(result, 'empty holds no checkpoints: train into it first')


def test_batch_that_does_not_divide_among_devices(tmp_path):
  config = tiny.config_file(tmp_path)
  result = tiny.run(
    'train', f'--config={config}', f'--workdir={tmp_path}', '--config.batch_size=6', devices=4
  )
  assert_one_sentence(result, 'batch size 6 does not divide among 4 device(s)')


def test_crop_below_one_output_cell(tmp_path):
  with pytest.raises(
    UserError, match=r'crop_size \(7, 49\) is smaller than one output cell of 8×8'
  ):
    train(tiny.config(tmp_path, crop_size=(7, 49)), tmp_path / 'run')


def test_workdir_that_cannot_be_written(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(UserError, match=r'cannot write to .*file'):
    train(tiny.config(tmp_path), tmp_path / 'file' / 'run')


@pytest.fixture
def folder(tmp_path):
  """A sound data folder of three classes, and the config that trains on it."""
  rng = np.random.default_rng(0)
  for split in ('train', 'val'):
    for kind in ('images', 'labels'):
      (tmp_path / 'data' / kind / split).mkdir(parents=True)
    for name in 'abcd':
      image = Image.fromarray(rng.integers(0, 255, (40, 50, 3), np.uint8))
      image.save(tmp_path / 'data' / 'images' / split / f'{name}.jpg')
      label = Image.fromarray(rng.integers(0, 3, (40, 50), np.uint8))
      label.save(tmp_path / 'data' / 'labels' / split / f'{name}.png')
  (tmp_path / 'data' / 'classes.txt').write_text('sky\nroad\ncar\n')
  c = tiny.config(tmp_path, total_steps=2)
  c.data = {
    'name': 'folder',
    'root': str(tmp_path / 'data'),
    'train': {'split': 'train'},
    'val': {'split': 'val'},
  }
  return tmp_path / 'data', c


def test_a_sound_folder_trains_and_what_it_holds_besides_is_said(folder, tmp_path, capsys):
  data, c = folder
  for split in ('train', 'val'):
    (data / 'images' / split / 'film.mp4').write_bytes(b'')
  train(c, tmp_path / 'run')
  said = capsys.readouterr().out
  assert f'{data}/images/train: left aside as no images: 1 .mp4.' in said
  assert f'{data}/images/val: left aside as no images: 1 .mp4.' in said


def write_label(data, pixels, name='a'):
  for split in ('train', 'val'):
    Image.fromarray(pixels).save(data / 'labels' / split / f'{name}.png')


def faults():
  def missing_root(data):
    data.rename(data.with_name('elsewhere'))

  def empty(data):
    for path in data.glob('*/train/*'):
      path.unlink()

  def no_label(data):
    (data / 'labels' / 'train' / 'b.png').unlink()

  def no_classes(data):
    (data / 'classes.txt').unlink()

  return [
    (missing_root, r'data folder .*data does not exist'),
    (empty, r'train'),
    (no_label, r'images/train/b\.jpg'),
    (no_classes, r'classes\.txt'),
  ]


@pytest.mark.parametrize(
  ('break_it', 'message'), faults(), ids=lambda x: getattr(x, '__name__', '')
)
def test_a_bad_folder_is_named(folder, tmp_path, break_it, message):
  data, c = folder
  break_it(data)
  with pytest.raises(UserError, match=message) as caught:
    train(c, tmp_path / 'run')
  assert '\n' not in str(caught.value)


def test_bad_examples_are_skipped_where_asked_for_and_counted(folder, tmp_path, capsys):
  data, c = folder
  (data / 'images' / 'train' / 'a.jpg').write_bytes(b'')
  write_label(data, np.full((40, 50), 9, np.uint8), name='b')  # in both splits
  c.data_errors = 'skip'
  workdir = tmp_path / 'run'
  train(c, workdir)
  printed = capsys.readouterr().out
  assert 'images/train/a.jpg is empty' in printed
  assert 'labels/train/b.png has 2000 of 2000 pixels with id 9' in printed
  assert 'Left out of the evaluation' in printed
  assert '1 of 4 examples are left out of the evaluation.' in printed
  records = [json.loads(x) for x in (workdir / 'metrics.jsonl').read_text().splitlines()]
  [skipped] = [r['train/skipped_examples'] for r in records if 'train/skipped_examples' in r]
  assert skipped >= 8  # half of two batches of 8
  evaluate(c, workdir)
  assert '1 of 4 examples are left out of the evaluation.' in capsys.readouterr().out
  for name in 'acd':
    write_label(data, np.full((40, 50), 9, np.uint8), name=name)
  with pytest.raises(UserError, match='none of the 4 examples to evaluate can be used'):
    evaluate(c, workdir)
