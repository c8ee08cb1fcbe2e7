"""COCO in VOC's classes: what is drawn, what lies on top, and which images count."""

import json
import zipfile

import numpy as np
import pytest
from hypothesis import given
from PIL import Image

from pspnet_jax.data.builders.coco_instances import read_instances
from pspnet_jax.data.sources import open_source
from pspnet_jax.errors import UserError
from tests import published
from tests.data.builders.prepared import labels, prepare, same
from tests.data.builders.shapes import box
from tests.mutations import ends_well, fuzz, mutated

SIZE = 40, 50  # height, width
CATEGORIES = {  # COCO's ids of the things that VOC has, and of one that it has not
  1: 'person',
  2: 'bicycle',
  3: 'car',
  4: 'motorcycle',
  5: 'airplane',
  6: 'bus',
  7: 'train',
  9: 'boat',
  16: 'bird',
  17: 'cat',
  18: 'dog',
  19: 'horse',
  20: 'sheep',
  21: 'cow',
  44: 'bottle',
  62: 'chair',
  63: 'couch',
  64: 'potted plant',
  67: 'dining table',
  72: 'tv',
  90: 'toothbrush',
}
# GluonCV's CAT_LIST: the ids in COCO of VOC's classes, in their order.
ORDER = [0, 5, 2, 16, 9, 44, 6, 3, 17, 62, 21, 67, 18, 19, 4, 1, 64, 20, 63, 7, 72]
EVERYWHERE = box(0, 0, 50, 40)
CROWD = {'size': list(SIZE), 'counts': [400, 400, 1200]}  # ten columns


def instances(things, **changes):
  """An instance file of images, each a list of (category, segmentation)."""
  images = [
    {'id': i, 'file_name': f'{i:012}.jpg', 'height': SIZE[0], 'width': SIZE[1]} for i in things
  ]
  annotations = [
    {
      'id': 100 * i + j,
      'image_id': i,
      'category_id': category,
      'segmentation': outline,
      'iscrowd': int(isinstance(outline, dict)),
      'area': 1.0,
      'bbox': [0, 0, 1, 1],
    }
    for i, of_image in things.items()
    for j, (category, outline) in enumerate(of_image)
  ]
  categories = [{'id': i, 'name': name} for i, name in CATEGORIES.items()]
  return {
    'info': {},
    'images': images,
    'annotations': annotations,
    'categories': categories,
    **changes,
  }


def archives(root, train, val, **changes):
  """The three archives, from what `instances` takes."""
  with zipfile.ZipFile(root / 'annotations_trainval2017.zip', 'w') as annotations:
    for split, things in (('train', train), ('val', val)):
      text = json.dumps(instances(things, **changes))
      annotations.writestr(f'annotations/instances_{split}2017.json', text)
      annotations.writestr(f'annotations/captions_{split}2017.json', '{}')
      with zipfile.ZipFile(root / f'{split}2017.zip', 'w') as images:
        for i in things:
          image = Image.new('RGB', SIZE[::-1], (i, 0, 0))
          images.writestr(f'{split}2017/{i:012}.jpg', published.encoded(image, 'JPEG'))


def prepared(monkeypatch, root, train, val=None, **changes):
  val = {1: [(1, [EVERYWHERE])]} if val is None else val
  archives(root, train, val, **changes)
  prepare(monkeypatch, root, 'coco_voc', {'train': len(train), 'val': len(val)})
  return labels(root, 'coco_voc', 'train')


def test_every_category_becomes_the_class_that_gluoncv_makes_of_it(monkeypatch, tmp_path):
  train = {i: [(i, [EVERYWHERE])] for i in CATEGORIES if i != 90}
  found = prepared(monkeypatch, tmp_path, train)
  same(found, {f'{i:012}': np.full(SIZE, ORDER.index(i), np.uint8) for i in train})
  assert open_source('coco_voc', 'val', data_dir=str(tmp_path / 'data')).spec.num_classes == 21


@pytest.mark.parametrize('crowd', [CROWD, {**CROWD, 'counts': '`<`<`U1'}])
def test_the_first_thing_lies_on_top_and_crowds_are_things(monkeypatch, tmp_path, capsys, crowd):
  parts = [box(2, 30, 12, 40), box(30, 30, 40, 40)]
  train = {
    8: [(18, [box(0, 0, 30, 40)]), (17, [box(20, 0, 50, 40)])],
    9: [(90, [EVERYWHERE]), (62, parts), (1, crowd), (3, [box(0, 0, 50, 30)])],
    10: [(3, [EVERYWHERE]), (3, [[7.25, 3.5, 7.25, 3.5, 8.25, 3.5, 8.25, 3.5]])],
  }
  expected = {f'{i:012}': np.zeros(SIZE, np.uint8) for i in train}
  dog_and_cat, several, car = expected.values()
  dog_and_cat[:, :30], dog_and_cat[:, 30:] = 12, 8
  several[:30] = 7
  several[:, 10:20] = 15
  several[30:, 2:12] = several[30:, 30:40] = 9
  car[:] = 7
  same(prepared(monkeypatch, tmp_path, train), expected)
  assert '0 images show 1,000 pixels of them or fewer and are left out; 1 outlines cover no' in (
    capsys.readouterr().out.replace('\n', ' ')
  )


def test_images_with_little_to_see_are_left_out_and_counted(monkeypatch, tmp_path, capsys):
  train = {
    1: [(3, [box(0, 0, 25, 40)])],  # 1,000 pixels
    2: [(3, [box(0, 0, 25, 40)]), (1, [box(30, 0, 31, 1)])],
    3: [(90, [EVERYWHERE])],
    4: [],
    5: [(3, [box(0, 0, 20, 40)]), (3, [box(0, 0, 20, 40)])],  # the same twice
  }
  assert list(prepared(monkeypatch, tmp_path, train)) == ['000000000002']
  assert '4 images show 1,000 pixels of them or fewer' in capsys.readouterr().out


def test_labels_are_those_that_pycocotools_and_gluoncv_make(monkeypatch, tmp_path):
  mask = pytest.importorskip('pycocotools.mask', reason='compares with pycocotools')
  rng = np.random.default_rng(0)
  train = {i: [(1, CROWD), (3, [box(0, 0, 50, 25)])][: i % 3] for i in range(1, 13)}
  for i, things in train.items():
    for _ in range(5):
      rings = [np.round(rng.uniform(-5, 55, (7, 2)), 2).ravel().tolist() for _ in range(i % 2 + 1)]
      things.insert(0, (int(rng.choice([*CATEGORIES])), rings))
  expected = {}
  for i, things in train.items():
    label = np.zeros(SIZE, np.uint8)
    for category, outline in things:
      if category in ORDER:
        covered = mask.decode(mask.frPyObjects(outline, *SIZE)).reshape(*SIZE, -1).any(-1)
        label += ((label == 0) * covered * ORDER.index(category)).astype(np.uint8)
    if (label > 0).sum() > 1000:
      expected[f'{i:012}'] = label
  assert len(expected) > 5
  same(prepared(monkeypatch, tmp_path, train), expected)


ONE = {1: [(1, [EVERYWHERE])]}


@pytest.mark.parametrize(
  ('train', 'changes', 'message'),
  [
    ({1: [(1, [])]}, {}, 'instances_train2017.json is no instance file of COCO .*no outline'),
    ({1: [(1, [[]])]}, {}, 'instances_train2017.json is no instance file of COCO .*no outline'),
    ({1: [(1, [[1, 2, 3]])]}, {}, r'no instance file of COCO \(ValueError'),
    ({1: [(1, [[1, 'x']])]}, {}, r'no instance file of COCO \(ValueError'),
    ({1: [(1, {**CROWD, 'counts': [1.5]})]}, {}, r'no instance file of COCO \(TypeError'),
    ({1: [(1, {**CROWD, 'counts': [[1, 2, 3]]})]}, {}, r'no instance file of COCO \(ValueError'),
    ({1: [(1, {**CROWD, 'counts': 3})]}, {}, r'no instance file of COCO \(ValueError'),
    ({1: [(1, {**CROWD, 'counts': [1]})]}, {}, r'000001\.jpg has run lengths of another size'),
    ({1: [(1, {**CROWD, 'size': [50, 40]})]}, {}, r'run lengths of another size than .*001\.jpg'),
    ({1: [(1, [[0, 0, 1e9, 0, 0, 9]])]}, {}, r'000001\.jpg has points that are no places'),
    (ONE, {'categories': [{'id': 1, 'name': 'person'}]}, 'has no category airplane, bicycle, '),
    (ONE, {'images': []}, r'no instance file of COCO \(KeyError'),
    (ONE, {'images': [{'id': 1, 'file_name': 'a.jpg', 'height': 9, 'width': 9}]},
     r'000001\.jpg has no label'),
    (ONE, {'images': [{'id': 1, 'file_name': 'a.jpg', 'height': 10**6, 'width': 10**6}]},
     r'a\.jpg has 1,000,000,000,000 pixels'),
    (ONE, {'images': [{'id': 1, 'file_name': 'a.jpg', 'height': 0, 'width': 9}]}, 'of 9x0 pixels'),
    (ONE, {'images': [{'id': 1, 'file_name': 'a\n.jpg', 'height': 9, 'width': 9}]}, r'a\\n\.jpg'),
    (ONE, {'images': 3}, r'no instance file of COCO \(TypeError'),
  ],
)  # fmt: skip
def test_what_cannot_be_understood_is_named(monkeypatch, tmp_path, train, changes, message):
  with pytest.raises(UserError, match=message) as error:
    prepared(monkeypatch, tmp_path, train, **changes)
  assert str(error.value).endswith('.') and '\n' not in str(error.value)


def test_lost_files_and_images_are_named(monkeypatch, tmp_path):
  archives(tmp_path, ONE, ONE)
  with pytest.raises(UserError, match=r"hold 1 images of the split 'train' instead of 2: download"):
    prepare(monkeypatch, tmp_path, 'coco_voc', {'train': 2, 'val': 1})
  with zipfile.ZipFile(tmp_path / 'annotations_trainval2017.zip', 'w') as annotations:
    annotations.writestr('annotations/captions_train2017.json', '{}')
  with pytest.raises(UserError, match=r'annotations_trainval2017\.zip lacks instances'):
    prepare(monkeypatch, tmp_path, 'coco_voc', {'train': 1, 'val': 1})


class Stored:
  """A member of an archive, as far as a reader sees it."""

  def __init__(self, data):
    self.data = data

  def read(self):
    return self.data

  def __str__(self):
    return 'instances.json'


TWO = {
  1: [(1, [box(0, 0, 9.5, 9), box(1, 1, 3, 3)]), (3, CROWD)],
  2: [(1, {**CROWD, 'counts': '`<`<`U1'})],
}


@fuzz
@given(mutated([json.dumps(instances(TWO)).encode(), json.dumps(instances(ONE)).encode()]))
def test_mutated_files_end_well(data):
  def draw():
    for image in read_instances(Stored(data), {'person': 15, 'car': 7}).values():
      assert image.label().shape == image.size

  ends_well(draw)
