"""LoveDA's two scenes are read as one; what is no data is ignored."""

import numpy as np
import pytest

pytest.importorskip('tensorflow_datasets', reason='needs the extra tfds')

from pspnet_jax.errors import UserError
from pspnet_jax.prepare import prepare
from tests import published
from tests.data.builders import aerial

SIZE = 20, 24
COUNTS = {'train': 3, 'val': 2, 'test': 1}
SCENES = {'Train': ['Rural/0', 'Rural/10', 'Urban/2'], 'Val': ['Rural/30', 'Urban/31']}


@pytest.fixture
def archives(monkeypatch, tmp_path):
  published.accept(monkeypatch, 'loveda', COUNTS)

  def write(change=lambda name, data: data):
    for folder, scenes in {**SCENES, 'Test': ['Urban/40']}.items():
      members = []
      for scene in scenes:
        place, number = scene.split('/')
        root = f'{folder}/{place}'
        members.append((f'{root}/images_png/{number}.png', published.png(image(number))))
        if folder != 'Test':
          members.append((f'{root}/masks_png/{number}.png', published.png(ids(number))))
      changed = [(name, change(name, data)) for name, data in members]
      aerial.write_zip(
        tmp_path / f'{folder}.zip', [(name, data) for name, data in changed if data is not None]
      )
    return tmp_path

  return write


def image(number):
  return aerial.picture(number, SIZE)


def ids(number):
  return np.random.default_rng(int(number)).integers(0, 8, SIZE, np.uint8)


def test_both_scenes_are_one_split_and_no_data_is_ignored(archives):
  folder = archives()
  for split, numbers in (('train', ['0', '10', '2']), ('val', ['30', '31'])):
    examples = aerial.prepared('loveda', split, folder)
    assert list(examples) == numbers
    for number, example in examples.items():
      expected = ids(number) - np.uint8(1)  # 0 wraps to 255
      np.testing.assert_array_equal(example['label'], expected)
      np.testing.assert_array_equal(example['image'], image(number))
  hidden = aerial.prepared('loveda', 'test', folder)
  assert (hidden['40']['label'] == 255).all() and hidden['40']['label'].shape == SIZE


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (lambda name, data: None if name.endswith('masks_png/10.png') else data,
     r'Train\.zip/Train/Rural/images_png/10\.png has no label'),
    (lambda name, data: None if '/31.png' in name else data,
     r"hold 1 images of the split 'val' instead of 2"),
    (lambda name, data: published.png(ids('2') + 3) if 'masks_png/2.png' in name else data,
     r'Train/Urban/masks_png/2\.png has .* pixels with id 8, 9, 10, neither a class \(1-7\)'),
    (lambda name, data: data[:40] if 'images_png/2.png' in name else data,
     r'images_png/2\.png is no image'),
  ],
  ids=['no label', 'too few', 'ids', 'damaged'],
)  # fmt: skip
def test_what_is_wrong_is_named(archives, change, message):
  folder = archives(change)
  with pytest.raises(UserError, match=message):
    prepare('loveda', folder / 'data', folder)


def test_another_archive_than_the_published_one_is_refused(tmp_path):
  for name in ('Train.zip', 'Val.zip', 'Test.zip'):
    aerial.write_zip(tmp_path / name, [('a', b'')])
  with pytest.raises(UserError, match=r'not the published Train\.zip \(md5 .* instead of de2b19'):
    prepare('loveda', tmp_path / 'data', tmp_path)
