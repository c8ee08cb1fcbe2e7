"""What an evaluation writes, read back."""

import csv
import errno
import json
import os

import numpy as np
import pytest
from PIL import Image

from pspnet_jax.data.palettes import default_palette
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.errors import UserError
from pspnet_jax.evaluation import result_files
from pspnet_jax.evaluation.metrics import Scores
from pspnet_jax.evaluation.published_figures import Published
from pspnet_jax.evaluation.result_files import Shown
from tests import hostile

SPEC = DatasetSpec(('road', 'sky', 'yak'), default_palette(3))
CONFUSION = np.array([[6, 2, 0], [1, 11, 0], [0, 0, 0]], np.int64)


def shown(name, iou):
  rng = np.random.default_rng(0)
  image = rng.integers(0, 255, (20, 30, 3)).astype(np.uint8)
  label, prediction = rng.integers(0, 3, (2, 20, 30)).astype(np.uint8)
  return Shown({'image': image, 'label': label, 'name': name}, prediction, iou)


@pytest.fixture
def folder(tmp_path):
  result_files.write(
    tmp_path / 'evaluation',
    Scores(CONFUSION),
    SPEC,
    {'title': 'step 3', 'protocol': {'flip': True}},
    typical=[shown('a', 0.5)],
    worst=[shown('b', 0.1), shown('c', 0.2)],
  )
  return tmp_path / 'evaluation'


def test_figures_are_the_same_in_every_form(folder):
  values = json.loads((folder / 'scores.json').read_text())
  iou = [6 / 9, 11 / 14]
  assert values['mIoU'] == pytest.approx(np.mean(iou)) and values['aAcc'] == 17 / 20
  assert values['IoU'] == {'road': iou[0], 'sky': iou[1], 'yak': None}
  assert values['protocol'] == {'flip': True} and values['confusion'] == CONFUSION.tolist()
  with (folder / 'scores.csv').open() as file:
    rows = {(row['name'], row['figure']): row['value'] for row in csv.DictReader(file)}
  assert float(rows['sky', 'IoU']) == iou[1] and rows['yak', 'IoU'] == ''
  assert float(rows['', 'mIoU']) == values['mIoU'] and float(rows['road', 'pixels']) == 8 / 20
  text = (folder / 'scores.md').read_text()
  assert text.startswith('# step 3\n') and '| yak | - | - | 0.00 |' in text


def test_published_figures_stand_in_every_form(tmp_path):
  rows = {'sky': (90.0,), 'road': (50.0,), 'yak': (10.0,)}
  published = Published('a network on a split', 'table 1', ('IoU',), rows, (50.0,))
  options = {'typical': [], 'worst': [], 'published': published}
  result_files.write(tmp_path, Scores(CONFUSION), SPEC, {'title': 'step 3'}, **options)
  values = json.loads((tmp_path / 'scores.json').read_text())
  assert values['published']['source'] == 'table 1' and values['published']['IoU']['sky'] == 0.9
  assert values['IoU']['road'] == 6 / 9  # ours, as ever
  assert 'class,sky,published IoU,0.9\n' in (tmp_path / 'scores.csv').read_text()
  assert '| road | 66.67 | 50.00 | 16.67 |' in (tmp_path / 'scores.md').read_text()


def test_pictures_show_what_they_say(folder):
  heights = {}
  for name in ('predictions', 'worst', 'confusion'):
    with Image.open(folder / f'{name}.png') as picture:
      heights[name] = picture.height
  assert heights['worst'] > heights['predictions']  # two rows and one


def write(folder, spec=SPEC, **pictures):
  about = {'title': 'step 4', 'protocol': {}}
  confusion = np.eye(spec.num_classes, dtype=np.int64)
  result_files.write(
    folder, Scores(confusion), spec, about, **{'typical': [], 'worst': []} | pictures
  )


def test_the_folder_never_holds_two_evaluations(folder, monkeypatch):
  before = {path.name: path.read_bytes() for path in folder.iterdir()}
  real, calls = os.fsync, []

  def full(descriptor):
    calls.append(descriptor)
    if len(calls) == 4:
      raise OSError(errno.ENOSPC, 'No space left on device')
    real(descriptor)

  monkeypatch.setattr(os, 'fsync', full)
  with pytest.raises(UserError, match=r'cannot write to .*confusion\.png: No space left'):
    write(folder)
  assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
  monkeypatch.undo()
  write(folder)  # without pictures
  after = sorted(path.name for path in folder.iterdir())
  assert after == ['confusion.png', 'scores.csv', 'scores.json', 'scores.md']


def test_classes_of_any_name_are_written_and_come_back(tmp_path):
  spec = DatasetSpec(hostile.CLASSES, hostile.COLOURS)
  write(tmp_path, spec, typical=[shown('\x1b[2J caf\udce9\n', 0.5)])
  assert tuple(json.loads((tmp_path / 'scores.json').read_text())['IoU']) == hostile.CLASSES
  for name in ('scores.md', 'scores.csv', 'scores.json'):
    assert hostile.is_harmless((tmp_path / name).read_text())
