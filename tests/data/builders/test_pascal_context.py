"""Pascal Context: 59 classes out of 459 ids, with the others as background or ignored."""

import io
import tarfile

import numpy as np
import pytest
import scipy.io

from pspnet_jax.data.builders.pascal_context import _IDS
from pspnet_jax.data.known_classes import PASCAL_CONTEXT, PASCAL_CONTEXT_59
from pspnet_jax.errors import UserError
from tests import published
from tests.data.builders.prepared import labels, prepare, same

# Names of the 459 in labels.txt; accordion, clothes tree, unknown and zebra are none of the 59.
NAMED = {2: 'aeroplane', 19: 'bedclothes', 80: 'cloth', 113: 'dog', 220: 'keyboard', 284: 'person'}
NAMED |= {308: 'pottedplant', 397: 'table', 415: 'track', 416: 'train', 427: 'tvmonitor'}
NAMED |= {454: 'window', 458: 'wood'}
RARE = [0, 1, 81, 431, 459]
SPLITS = {'train': ['2008_000002', '2008_000007'], 'val': ['2008_000003']}
COUNTS = {'train': 2, 'val': 1}


def ids_of(name):
  rng = np.random.default_rng(list(name.encode()))
  ids = rng.choice(np.array([*RARE, *NAMED], np.uint16), published.SIZE)
  ids.ravel()[: len(NAMED)] = list(NAMED)
  return ids


def classes(ids, spec, otherwise):
  return np.vectorize(
    lambda i: spec.class_names.index(NAMED[i]) if i in NAMED else otherwise, otypes=[np.uint8]
  )(ids)


def label_mat(ids):
  file = io.BytesIO()
  scipy.io.savemat(file, {'LabelMap': ids}, do_compression=True)
  return file.getvalue()


def write(root, mats=label_mat, lost=()):
  everything = [name for names in SPLITS.values() for name in names]
  with tarfile.open(root / 'VOCtrainval_03-May-2010.tar', 'w:') as tar:
    for name in [*everything, '2009_000001']:
      published.add(tar, f'VOCdevkit/VOC2010/JPEGImages/{name}.jpg', published.jpeg(name))
    for split, names in (*SPLITS.items(), ('trainval', everything)):
      text = '\n'.join(names) + '\n'
      published.add(tar, f'VOCdevkit/VOC2010/ImageSets/Main/{split}.txt', text.encode())
      published.add(tar, f'VOCdevkit/VOC2010/ImageSets/Segmentation/{split}.txt', b'2009_000001\n')
  with tarfile.open(root / 'trainval.tar.gz', 'w:gz') as tar:
    published.add(tar, 'labels.txt', b'1: accordion\n')
    for name in everything:
      if name not in lost:
        published.add(tar, f'trainval/{name}.mat', mats(ids_of(name)))


def test_the_rare_classes_are_background_or_ignored(monkeypatch, tmp_path):
  write(tmp_path)
  folder = prepare(monkeypatch, tmp_path, 'pascal_context_59', COUNTS)
  assert folder == tmp_path / 'data' / 'pascal_context' / '1.0.0'
  assert prepare(monkeypatch, tmp_path, 'pascal_context', COUNTS) == folder  # as it is
  for split, names in SPLITS.items():
    for dataset, spec, otherwise in (
      ('pascal_context', PASCAL_CONTEXT, 0),
      ('pascal_context_59', PASCAL_CONTEXT_59, 255),
    ):
      expected = {name: classes(ids_of(name), spec, otherwise) for name in names}
      same(labels(tmp_path, dataset, split), expected)


def test_the_ids_are_those_of_mmsegmentation():
  """Its converter looks each id up in this list, once it has sorted it."""
  mapping = [
    *(0, 2, 259, 260, 415, 324, 9, 258, 144, 18, 19, 22, 23, 397, 25, 284, 158, 159, 416, 33, 162),
    *(420, 454, 295, 296, 427, 44, 45, 46, 308, 59, 440, 445, 31, 232, 65, 354, 424, 68, 326, 72),
    *(458, 34, 207, 80, 355, 85, 347, 220, 349, 360, 98, 187, 104, 105, 366, 189, 368, 113, 115),
  ]
  assert [0, *_IDS] == sorted(mapping)


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'lost': ['2008_000007']}, r'lack the image or the label of 2008_000007 and of 0 more'),
    ({'mats': lambda ids: b'?' * 99}, r'trainval\.tar\.gz/2008_000002\.mat holds no matrix Lab'),
    ({'mats': lambda ids: label_mat(ids + 460)}, r'2008_000002\.mat has .* ids? '),
  ],
)
def test_what_is_wrong_with_the_labels_is_named(monkeypatch, tmp_path, change, message):
  write(tmp_path, **change)
  with pytest.raises(UserError, match=message):
    prepare(monkeypatch, tmp_path, 'pascal_context', COUNTS)


def test_another_archive_of_the_same_name_is_refused(monkeypatch, tmp_path):
  """PASCAL-Part's labels come in a trainval.tar.gz, too."""
  write(tmp_path)
  with tarfile.open(tmp_path / 'trainval.tar.gz', 'w:gz') as tar:
    published.add(tar, 'Annotations_Part/2008_000002.mat', label_mat(ids_of('x')))
  with pytest.raises(UserError, match='lack the image or the label of 2008_000002 and of 1 more'):
    prepare(monkeypatch, tmp_path, 'pascal_context', COUNTS)
