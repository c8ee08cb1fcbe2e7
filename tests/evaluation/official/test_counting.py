"""Predictions find their labels, and all images are counted; see also the command, test_score."""

import numpy as np
import pytest
from PIL import Image

from pspnet_jax.errors import UserError
from pspnet_jax.evaluation.official.benchmarks import BENCHMARKS
from pspnet_jax.evaluation.official.counting import count, pair

VOC, CITYSCAPES = BENCHMARKS['voc2012'], BENCHMARKS['cityscapes']


def write(path, ids):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(np.asarray(ids, np.uint8)).save(path)


@pytest.fixture
def folders(tmp_path):
  """Two images whose files lie in different folders on both sides."""
  for name, where in (('b', 'deep/er'), ('a', '')):
    write(tmp_path / 'predictions' / where / f'{name}.png', [[1, 2, 3]])
    write(tmp_path / 'labels' / f'{name}.png', [[1, 2, 255]])
  return tmp_path / 'predictions', tmp_path / 'labels'


def test_files_belong_together_by_their_names(folders):
  a, b = pair(VOC, *folders)
  assert (a.prediction.name, b.label.name) == ('a.png', 'b.png')
  assert b.prediction == folders[0] / 'deep/er/b.png' and a.instances is None


def test_a_list_restricts_both_sides(folders):
  (folders[0] / 'a.png').unlink()
  write(folders[0] / 'c.png', [[0]])
  assert [files.label.stem for files in pair(VOC, *folders, names=['b'])] == ['b']
  with pytest.raises(UserError, match='z of the list has no label'):
    pair(VOC, *folders, names=['z'])


def test_what_has_no_partner_is_named(folders):
  write(folders[0] / 'c.png', [[0]])
  with pytest.raises(UserError, match=r'c\.png has no label in .*--list=FILE'):
    pair(VOC, *folders)
  (folders[0] / 'a.png').unlink()
  with pytest.raises(UserError, match=r'labels/a\.png has no prediction'):
    pair(VOC, *folders)
  write(folders[0] / 'x' / 'b.png', [[0]])
  with pytest.raises(UserError, match='belong to one image'):
    pair(VOC, *folders)


@pytest.mark.parametrize('threads', [0, 3])
def test_counts_are_summed_whatever_the_threads(folders, threads):
  done = []
  counts = count(VOC, pair(VOC, *folders), threads=threads, on_progress=done.append)
  assert counts.pixels.sum() == 4 and counts.pixels[1, 1] == counts.pixels[2, 2] == 2
  assert done == [1, 2] and counts.instances is None


def test_class_ids_become_those_of_the_benchmark(tmp_path):
  name = 'aachen_000000_000019'
  write(tmp_path / 'labels' / f'{name}_gtFine_labelIds.png', [[7, 26]])  # road, car
  write(tmp_path / 'predictions' / f'{name}.png', [[0, 13]])
  files = pair(CITYSCAPES, tmp_path / 'predictions', tmp_path / 'labels')
  pixels = count(CITYSCAPES, files, ids='class', threads=0).pixels
  assert pixels[7, 7] == pixels[26, 26] == 1 and pixels.sum() == 2
  write(tmp_path / 'predictions' / f'{name}.png', [[0, 26]])
  with pytest.raises(UserError, match=r'holds the id 26, and legal are 0-18: .* without --ids'):
    count(CITYSCAPES, files, ids='class', threads=0)


def test_nothing_to_score_is_said():
  with pytest.raises(UserError, match='there is no image to score'):
    count(VOC, [])


def test_links_in_circles_are_walked_once(folders):
  for folder in folders:
    (folder / 'round').symlink_to(folder)
    (folder / 'again').symlink_to(folder)
  assert len(pair(VOC, *folders)) == 2
