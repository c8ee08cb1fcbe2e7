"""Shapes become label files, and what becomes of each is said."""

import numpy as np
import pytest
from PIL import Image

from pspnet_jax.data.builders.coco import read_coco
from pspnet_jax.data.builders.drawing import write_folder
from pspnet_jax.data.builders.labelme import read_labelme
from pspnet_jax.data.folder import Folder
from pspnet_jax.errors import UserError
from tests.data.builders.shapes import box, coco, image, label, labelme, write

BIG, SMALL = box(0, 0, 8, 6), box(2, 1, 4, 3)


@pytest.fixture
def root(tmp_path):
  image(tmp_path / 'images/a.png')
  return tmp_path


CATEGORIES = (7, 'car'), (3, 'road')


def drawn(root, *annotations, output='out', images=None, categories=CATEGORIES, **how):
  """What is said of annotations of COCO."""
  annotations = [(1, category, outline, more) for category, outline, more in annotations]
  path = write(root / 'c.json', coco(*annotations, images=images, categories=categories))
  said = []
  write_folder(read_coco(path, root / 'images'), root / output, say=said.append, **how)
  return said


def test_the_smaller_shape_lies_on_top_in_whatever_order(root):
  expected = np.full((6, 8), 1)
  expected[1:3, 2:4] = 2  # car: ids are in the order of the categories', after the background
  shapes = (7, [SMALL], {}), (3, [BIG], {})
  for i, order in enumerate((shapes, shapes[::-1])):
    said = drawn(root, *order, output=f'out{i}')
    np.testing.assert_array_equal(label(root / f'out{i}'), expected)
    assert said == [
      f'1 image(s) with 2 shape(s) of 3 classes are in {root}/out{i}.',
      '4 pixels (8.33%) are covered by shapes of several classes: the smaller shape lies on top.',
    ]
  assert (root / 'out0/classes.txt').read_text() == 'background\nroad\ncar\n'


def test_shapes_of_one_class_do_not_contest(root):
  assert len(drawn(root, (7, [SMALL], {}), (7, [BIG], {}))) == 1


def test_pixels_of_no_shape_are_a_class_or_ignored(root):
  drawn(root, (7, [SMALL], {}))
  drawn(root, (7, [SMALL], {}), output='ignored', background='ignored')
  assert [*np.unique(label(root / 'out'))] == [0, 2]
  assert [*np.unique(label(root / 'ignored'))] == [1, 255]
  assert (root / 'ignored/classes.txt').read_text() == 'road\ncar\n'


def test_crowds_are_ignored_beneath_whatever_is_there(root):
  crowd = {'size': [6, 8], 'counts': [6, 36, 6]}
  said = drawn(root, (7, crowd, {'iscrowd': 1}), (3, [SMALL], {}))
  found = label(root / 'out')
  assert (found[1:3, 2:4] == 1).all() and np.count_nonzero(found == 255) == 32
  assert np.count_nonzero(found == 0) == 12
  assert '1 region(s) are ignored, beneath whatever else is there.' in said


def test_what_reaches_beyond_and_what_covers_nothing_is_counted(root):
  image(root / 'images/b.png')
  images = [{'id': i, 'file_name': f'{"ab"[i - 1]}.png', 'width': 8, 'height': 6} for i in (1, 2)]
  said = drawn(root, (3, [box(5, 3, 99, 99)], {}), (7, [[1, 1, 3, 3]], {}), images=images)
  which = f'1 shape(s), such as annotation {{}} of {root}/c.json'
  assert said[1:] == [
    f'{which.format(0)}, reach beyond the image and are cut off there.',
    f'{which.format(1)}, cover no pixel and are left out.',
    '1 image(s), such as b, have no shape and are background throughout.',
  ]
  assert np.count_nonzero(label(root / 'out')) == 9 and not label(root / 'out', 'b').any()


def test_the_folder_is_what_training_reads(root):
  image(root / 'images/city/b.png')
  images = [{'id': 1, 'file_name': 'city/b.png', 'width': 8, 'height': 6}]
  drawn(root, (3, [SMALL], {}), images=images, split='train')
  [example] = list(Folder(str(root / 'out'), 'train'))
  assert example['name'] == 'b' and np.count_nonzero(example['label'] == 1) == 4
  assert sorted(p.name for p in (root / 'out').iterdir()) == ['classes.txt', 'images', 'labels']


def test_splits_share_their_classes(root):
  drawn(root, (3, [SMALL], {}), split='train')
  drawn(root, (7, [SMALL], {}), split='val', categories=((1, 'x-ray'), (7, 'car'))[1:])
  assert (label(root / 'out', 'val/a')[1, 2], label(root / 'out', 'train/a')[1, 2]) == (2, 1)
  with pytest.raises(UserError, match=r"classes\.txt has no class 'tram': prepare all splits in"):
    drawn(root, (9, [SMALL], {}), split='test', categories=((9, 'tram'),))
  with pytest.raises(UserError, match="has no class 'ignored background'"):
    drawn(root, (7, [SMALL], {}), split='test', background='ignored')
  with pytest.raises(UserError, match='images/val exists: remove it'):
    drawn(root, (7, [SMALL], {}), split='val')


def test_an_image_of_another_size_is_refused(root):
  images = [{'id': 1, 'file_name': 'a.png', 'width': 9, 'height': 6}]
  with pytest.raises(UserError, match=r'a\.png is 8x6, and its annotation is for 9x6 .*: annotate'):
    drawn(root, images=images)
  # A photo that lies on its side, annotated as it is stored; and as people see it.
  exif = Image.Exif()
  exif[0x0112] = 6
  image(root / 'images/t.jpg', exif=exif)
  for width, height in ((8, 6), (6, 8)):
    images = [{'id': 1, 'file_name': 't.jpg', 'width': width, 'height': height}]
    if width == 8:
      with pytest.raises(UserError, match='annotated as it is stored, remove the EXIF orientation'):
        drawn(root, images=images)
  drawn(root, (3, [box(0, 0, 6, 1)], {}), images=images)
  assert label(root / 'out', 't').shape == (8, 6) and label(root / 'out', 't')[0].all()


def test_nothing_half_done_looks_whole(root):
  (root / 'images/b.png').write_bytes(b'no image')
  image(root / 'images/c.png')
  images = [{'id': i, 'file_name': f'{"abc"[i]}.png', 'width': 8, 'height': 6} for i in range(3)]
  with pytest.raises(UserError, match=r'b\.png is not an image'):
    drawn(root, images=images)
  assert not any((root / 'out').iterdir())  # not even the classes, for others may be given next
  image(root / 'images/b.png')
  drawn(root, images=images)
  assert sorted(p.name for p in (root / 'out/images').iterdir()) == ['a.png', 'b.png', 'c.png']


@pytest.mark.parametrize(
  'files, message',
  [
    (['a.png', 'a.jpg'], 'two images are called a, extensions apart'),
    (['a.txt'], r'a\.txt is no name that the data folder would find'),
    (['.hidden/a.png'], r'a\.png is no name that the data folder would find'),
  ],
)
def test_names_that_the_folder_would_not_find_are_refused(root, files, message):
  images = [{'id': i, 'file_name': file, 'width': 8, 'height': 6} for i, file in enumerate(files)]
  with pytest.raises(UserError, match=message):
    drawn(root, images=images)


@pytest.mark.parametrize('name', ['#1', 'ignore: 3', '', 'a\nb'])
def test_class_names_that_a_class_file_cannot_hold_are_refused(root, name):
  with pytest.raises(UserError, match='class') as error:
    drawn(root, categories=((1, name),))
  assert '\n' not in str(error.value) and not (root / 'out/classes.txt').exists()
  with pytest.raises(UserError, match='256 classes'):
    drawn(root, categories=[(i, f'c{i}') for i in range(255)])


def test_labelme_is_drawn_by_name(tmp_path):
  shapes = [
    ('road', [[0, 0], [8, 0], [8, 6], [0, 6]], 'polygon'),
    ('car', [[2, 1], [4, 3]], 'rectangle'),
    ('_background_', [[3, 1], [4, 1], [4, 2], [3, 2]], 'polygon'),
    ('__ignore__', [[0, 0], [1, 0], [1, 1], [0, 1]], 'polygon'),
    ('note', [[5, 5]], 'point'),
    ('sun', [[6.5, 4.5], [7.4, 4.5]], 'circle'),
  ]
  image(tmp_path / 'in/x/a.png')
  write(tmp_path / 'in/x/a.json', labelme(*shapes, file='C:\\old\\a.png'))
  said = []
  write_folder(read_labelme(tmp_path / 'in'), tmp_path / 'out', say=said.append)
  assert (tmp_path / 'out/classes.txt').read_text() == 'background\ncar\nroad\nsun\n'
  expected = np.full((6, 8), 2)
  expected[1:3, 2:4] = 1
  expected[1, 3] = 0
  expected[4, 6] = 3
  np.testing.assert_array_equal(label(tmp_path / 'out', 'x/a'), expected)
  assert [line.partition(',')[0] for line in said[1:]] == [
    '5 pixels (10.42%) are covered by shapes of several classes: the smaller shape lies on top.',
    '1 region(s) are ignored',
    '1 shape(s)',
  ]
