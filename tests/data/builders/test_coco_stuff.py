"""COCO-Stuff of both sizes: 171 classes out of 182 ids, in PNG files and in MATLAB's."""

import io
import zipfile

import numpy as np
import pytest
import scipy.io

from pspnet_jax.data.known_classes import COCO_STUFF
from pspnet_jax.errors import UserError
from tests import published
from tests.data.builders.prepared import labels, prepare, same

# Ids of labels.txt, counting from 1, of names that are told apart by their neighbours.
NAMED = {1: 'person', 11: 'fire hydrant', 13: 'stop sign', 27: 'backpack', 67: 'dining table'}
NAMED |= {70: 'toilet', 90: 'toothbrush', 92: 'banner', 148: 'river', 182: 'wood'}


def ids_of(name):
  """Ids as labels.txt has them, 0 for unlabelled, among them all that are named here."""
  rng = np.random.default_rng(list(name.encode()))
  ids = rng.choice(np.array([0, *NAMED], np.uint8), published.SIZE)
  ids.ravel()[: len(NAMED)] = list(NAMED)
  return ids


def classes(ids):
  """What becomes of these ids, by their names."""
  return np.vectorize(
    lambda i: COCO_STUFF.class_names.index(NAMED[i]) if i else 255, otypes=[np.uint8]
  )(ids)


def write_164k(root, change=lambda ids: ids):
  names = {'train': ['000000000009', '000000000025'], 'val': ['000000000139']}
  with zipfile.ZipFile(root / 'stuffthingmaps_trainval2017.zip', 'w') as maps:
    for split, of_split in names.items():
      with zipfile.ZipFile(root / f'{split}2017.zip', 'w') as images:
        for name in of_split:
          images.writestr(f'{split}2017/{name}.jpg', published.jpeg(name))
          ids = change(ids_of(name) - np.uint8(1))  # 0 wraps to 255, which is unlabelled here
          maps.writestr(f'{split}2017/{name}.png', published.png(ids))
  return {
    split: {name: classes(ids_of(name)) for name in of_split} for split, of_split in names.items()
  }


def mat(**variables):
  file = io.BytesIO()
  scipy.io.savemat(file, variables, do_compression=True)
  return file.getvalue()


def label_mat(ids):
  """A file with the variables of the authors' files."""
  names = np.array([['unlabeled'], ['person']], object)
  return mat(S=ids, names=names, captions=names, regionMapStuff=np.ones(ids.shape, np.uint16))


def write_10k(root, make=label_mat, test=('COCO_train2014_000000000308',)):
  train = [f'COCO_train2014_{i:012}' for i in (77, 109)]
  with zipfile.ZipFile(root / 'cocostuff-10k-v1.1.zip', 'w') as archive:
    for name in [*train, 'COCO_train2014_000000000308']:
      archive.writestr(f'images/{name}.jpg', published.jpeg(name))
      archive.writestr(f'annotations/{name}.mat', make(ids_of(name)))
    for split, names in (('train', train), ('test', test), ('all', [*train, *test])):
      archive.writestr(f'imageLists/{split}.txt', '\n'.join(names) + '\n')
  return {
    split: {name: classes(ids_of(name)) for name in names}
    for split, names in (('train', train), ('val', test))
  }


COUNTS = {'train': 2, 'val': 1}


@pytest.mark.parametrize('write', [write_164k, write_10k])
def test_labels_are_the_171_classes(monkeypatch, tmp_path, write):
  dataset = write.__name__.replace('write_', 'coco_stuff')
  expected = write(tmp_path)
  prepare(monkeypatch, tmp_path, dataset, COUNTS)
  for split, of_split in expected.items():
    same(labels(tmp_path, dataset, split), of_split)


@pytest.mark.parametrize('id_in_png', [11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90, 182, 254])
def test_things_that_nobody_outlined_are_no_class(monkeypatch, tmp_path, id_in_png):
  write_164k(tmp_path, lambda ids: np.full_like(ids, id_in_png))
  with pytest.raises(UserError, match=rf'000000000009\.png has .* id {id_in_png}\b'):
    prepare(monkeypatch, tmp_path, 'coco_stuff164k', COUNTS)


@pytest.mark.parametrize(
  ('make', 'message'),
  [
    (lambda ids: b'?' * 200, r'000000000077\.mat holds no matrix S \('),
    (lambda ids: mat(T=ids), r'000000000077\.mat holds no matrix S \(there is none'),
    (lambda ids: mat(S=np.where(ids == 1, 12, ids)), r'000000000077\.mat has .* id 12\b'),
  ],
)
def test_a_label_that_is_none_is_named(monkeypatch, tmp_path, make, message):
  write_10k(tmp_path, make)
  with pytest.raises(UserError, match=message):
    prepare(monkeypatch, tmp_path, 'coco_stuff10k', COUNTS)


def test_lists_that_lack_or_invent_something_are_named(monkeypatch, tmp_path):
  for names, more in (('1',), ''), (('1', '2'), ' and 1 more'), (('1', '2', '3'), ' and 2 more'):
    write_10k(tmp_path, test=names)
    with pytest.raises(UserError, match=rf'lacks 1{more} of test\.txt: download it again\.$'):
      prepare(monkeypatch, tmp_path, 'coco_stuff10k', COUNTS)
  with zipfile.ZipFile(tmp_path / 'cocostuff-10k-v1.1.zip', 'w') as archive:
    archive.writestr('readme.txt', '')
  with pytest.raises(UserError, match=r'cocostuff-10k-v1\.1\.zip has no train\.txt and test\.txt'):
    prepare(monkeypatch, tmp_path, 'coco_stuff10k', COUNTS)
