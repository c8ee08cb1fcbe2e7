"""The command score: figures from folders, and what is wrong with the folders in one sentence."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from pspnet_jax.errors import UserError
from pspnet_jax.evaluation.official.benchmarks import BENCHMARKS
from pspnet_jax.score import score
from tests import tiny
from tests.evaluation.official import fabricated


@pytest.fixture
def cityscapes(tmp_path):
  return fabricated.write(tmp_path, seed=0)


@pytest.fixture
def voc(tmp_path):
  """Three palette labels with a border, and predictions that are right; folders as above."""
  rng = np.random.default_rng(0)
  folders = tmp_path / 'predictions', tmp_path / 'SegmentationClass'
  for i, name in enumerate(['2007_000033', '2007_000042', '2007_000061']):
    label = rng.integers(0, 21, (20 + i, 30))
    bordered = np.where(rng.random(label.shape) < 0.9, label, 255)
    for folder, ids in zip(folders, (label, bordered), strict=True):
      folder.mkdir(exist_ok=True)
      picture = Image.fromarray(ids.astype(np.uint8))
      picture.putpalette(list(range(256)) * 3)
      picture.save(folder / f'{name}.png')
  return folders


def test_command_prints_and_writes_the_figures(cityscapes, tmp_path):
  predictions, labels = cityscapes
  result = tiny.run(
    *('score', '--benchmark=cityscapes', f'--predictions={predictions}', f'--labels={labels}'),
    f'--output={tmp_path / "out"}',
  )
  assert result.returncode == 0, result.stderr
  golden = json.loads(fabricated.GOLDEN.read_text())
  assert f'IoU classes {100 * golden["averageScoreClasses"]:.2f} %' in result.stdout
  assert f'{100 * golden["classInstScores"]["rider"]:.2f}' in result.stdout
  assert 'Not a whole split' in result.stdout  # 3 images
  with open(tmp_path / 'out' / 'scores.csv') as file:
    rows = {(row['kind'], row['name'], row['figure']): row['value'] for row in csv.DictReader(file)}
  assert float(rows['class', 'rider', 'iIoU']) == pytest.approx(golden['classInstScores']['rider'])
  assert rows['class', 'train', 'IoU'] == ''
  assert '| train | - | - |' in (tmp_path / 'out' / 'scores.md').read_text()


def test_class_ids_and_the_benchmarks_ids_score_the_same(cityscapes, tmp_path):
  predictions, labels = cityscapes
  to_class = np.zeros(34, np.uint8)
  class_ids = np.array(BENCHMARKS['cityscapes'].class_ids)
  to_class[class_ids] = np.arange(19)
  for path in predictions.glob('*/*.png'):
    ids = np.asarray(Image.open(path))
    ids = np.where(np.isin(ids, class_ids), ids, 7)  # predict knows nothing but classes
    fabricated.save(path, ids)
    (tmp_path / 'class').mkdir(exist_ok=True)
    fabricated.save(tmp_path / 'class' / path.name, to_class[ids])
  theirs = score('cityscapes', predictions, labels)
  ours = score('cityscapes', tmp_path / 'class', labels, ids='class')
  assert ours.summary == theirs.summary


def test_class_ids_taken_for_label_ids_are_suspected(cityscapes, capsys):
  predictions, labels = cityscapes
  score('cityscapes', predictions, labels)
  assert 'give --ids=class' in capsys.readouterr().out  # the errors have void ids


def test_right_predictions_score_one(voc, capsys):
  figures = score('voc2012', *voc)
  assert figures.summary == {'mean IoU': 1.0}
  assert 'mean IoU 100.00 %' in capsys.readouterr().out


def test_voc_says_why_there_is_no_mean(voc, tmp_path, capsys):
  for folder in voc:
    for path in folder.glob('*.png'):
      ids = np.asarray(Image.open(path))
      fabricated.save(path, np.where(ids == 15, 0, ids))
  figures = score('voc2012', *voc)
  assert np.isnan(figures.summary['mean IoU'])
  assert 'No mean: neither labels nor predictions show person,' in capsys.readouterr().out


def test_a_list_picks_the_images(voc, tmp_path):
  predictions, labels = voc
  fabricated.save(labels / '2007_000061.png', np.full((22, 30), 3))  # all wrong, and not listed
  (predictions / '2007_000061.png').unlink()
  (tmp_path / 'val.txt').write_text('2007_000033\n2007_000042\n')
  figures = score('voc2012', *voc, list_file=tmp_path / 'val.txt')
  assert figures.summary['mean IoU'] == 1


def test_ade20k_score(tmp_path):
  for kind, ids in (('labels', [[0, 1], [2, 3]]), ('predictions', [[9, 1], [2, 1]])):
    (tmp_path / kind).mkdir()
    fabricated.save(tmp_path / kind / 'ADE_val_00000001.png', np.array(ids))
  figures = score('ade20k', tmp_path / 'predictions', tmp_path / 'labels', output=tmp_path)
  accuracy, iou = 2 / 3, (1 / 2 + 1) / 150
  assert list(figures.summary.values()) == pytest.approx([accuracy, iou, (accuracy + iou) / 2])
  assert f'| score (mean of the two) | {50 * (accuracy + iou):.2f} |' in (
    (tmp_path / 'scores.md').read_text()
  )


def remove(path):
  path.unlink()


def rename(name):
  return lambda path: path.rename(path.with_name(name))


def copy(name):
  return lambda path: path.with_name(name).write_bytes(path.read_bytes())


def rewrite(change):
  return lambda path: fabricated.save(path, change(np.array(Image.open(path))))


def with_id(value):
  def change(ids):
    ids[3, 5] = value
    return ids

  return rewrite(change)


FRAME = 'aachen_000000_000019'


@pytest.mark.parametrize(
  ('file', 'spoil', 'message'),
  [
    (f'{FRAME}_leftImg8bit', remove, f'{FRAME}_gtFine_labelIds.png has no prediction in'),
    (f'{FRAME}_gtFine_labelIds', remove, f'{FRAME}_leftImg8bit.png has no label in'),
    (f'{FRAME}_gtFine_instanceIds', remove, 'instanceIds.png does not exist, and other images'),
    (f'{FRAME}_leftImg8bit', copy(f'{FRAME}_color.png'), 'belong to one image: give a folder'),
    (f'{FRAME}_leftImg8bit', rename('a.png'), r'a.png is not named after an image of Cityscapes'),
    (f'{FRAME}_leftImg8bit', rewrite(lambda x: x[::2]), '72x24 but .*labelIds.png is 72x48'),
    (f'{FRAME}_leftImg8bit', with_id(255), 'leftImg8bit.png holds the id 255, and legal are 0-33'),
    (f'{FRAME}_gtFine_labelIds', with_id(34), 'labelIds.png holds the id 34, and legal are 0-33'),
    (f'{FRAME}_leftImg8bit', lambda path: path.write_bytes(b'no'), 'leftImg8bit.png is not an'),
    (f'{FRAME}_leftImg8bit', lambda path: Image.new('RGB', (72, 48)).save(path), 'colour image'),
  ],
)
def test_what_is_wrong_with_a_file_is_said(cityscapes, tmp_path, file, spoil, message):
  [path] = tmp_path.rglob(f'{file}.png')
  spoil(path)
  with pytest.raises(UserError, match=message) as e:
    score('cityscapes', *cityscapes)
  assert str(e.value).endswith('.')


def test_what_is_wrong_with_voc_and_lists_is_said(voc, tmp_path):
  predictions, labels = voc
  listed = tmp_path / 'val.txt'
  for text, message in {
    '': 'val.txt is empty',
    '2007_000033\n2007_000033\n': "val.txt:2 names '2007_000033' for the second time",
    '2007_000033\n2009_009999\n': '2009_009999 of the list has no label in',
  }.items():
    listed.write_text(text)
    with pytest.raises(UserError, match=message):
      score('voc2012', predictions, labels, list_file=listed)
  with pytest.raises(UserError, match='cannot be read'):
    score('voc2012', predictions, labels, list_file=tmp_path / 'val2.txt')
  with pytest.raises(UserError, match='holds no file'):
    score('voc2012', (tmp_path / 'none').mkdir() or tmp_path / 'none', labels)
  with_id(255)(predictions / '2007_000033.png')
  with pytest.raises(UserError, match='holds the id 255, and legal are 0-20: a pred'):
    score('voc2012', predictions, labels)


def test_published_figures_stand_beside_these(cityscapes, tmp_path, capsys):
  found = score('cityscapes', *cityscapes, published='cityscapes_test', output=tmp_path / 'out')
  classes, categories = found.tables
  assert classes.column('published IoU')['road'] == pytest.approx(0.986397)
  ours = classes.column('IoU')['road']
  assert classes.column('IoU difference')['road'] == pytest.approx(ours - 0.986397)
  assert categories.columns == ('IoU', 'iIoU')
  assert 'class,car,published iIoU,0.899287' in (tmp_path / 'out' / 'scores.csv').read_text()
  assert 'Published: PSPNet on the test split of Cityscapes' in capsys.readouterr().out
  with pytest.raises(UserError, match='are of other classes than the data'):
    score('voc2012', *cityscapes, published='cityscapes_test')
