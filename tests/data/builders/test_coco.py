"""COCO's files are understood exactly, or refused with the entry that cannot be."""

import json

import numpy as np
import pytest
from hypothesis import given

from pspnet_jax.data.builders.coco import read_coco
from pspnet_jax.data.builders.drawing import write_folder
from pspnet_jax.errors import UserError
from tests.data.builders.shapes import box, coco, image, label, write
from tests.mutations import ends_well, fuzz, mutated


def read(tmp_path, data):
  return read_coco(write(tmp_path / 'c.json', data), tmp_path)


def test_polygons_and_run_lengths_of_both_kinds_are_the_same_label(tmp_path):
  image(tmp_path / 'images/a.png')
  parts = [box(1, 0, 3, 2), box(5, 4, 8, 6)]
  expected = np.zeros((6, 8), int)
  expected[0:2, 1:3] = expected[4:6, 5:8] = 1
  # Down the columns: 6 without, 2 with, 4 without ... As text, 2 is '2', and from the fourth number
  # on stands the difference to the last but one: 2 - 2, 20 - 4, 2 - 2, 4 - 20, and then noughts.
  runs = [6, 2, 4, 2, 20, 2, 4, 2, 4, 2]
  text = '6240`00@000'
  for i, outline in enumerate((parts, *({'size': [6, 8], 'counts': x} for x in (runs, text)))):
    drawn = read(tmp_path / 'images', coco((1, 3, outline, {}), categories=((3, 'road'),)))
    write_folder(drawn, tmp_path / f'out{i}', say=lambda line: None)
    np.testing.assert_array_equal(label(tmp_path / f'out{i}'), expected)


def test_classes_are_in_the_order_of_their_ids_and_the_background_has_one_name(tmp_path):
  categories = ((9, 'car'), (1, ' road '), (4, 'Background'))
  assert read(tmp_path, coco(categories=categories)).names == ['road', 'background', 'car']


def changed(*keys, to):
  data = coco((1, 3, [box(0, 0, 2, 2)], {}))
  at = data
  for key in keys[:-1]:
    at = at[key]
  at[keys[-1]] = to
  return data


@pytest.mark.parametrize(
  'data, message',
  [
    ('', r'c\.json is no JSON \('),
    ('[' * 100_000, r'c\.json is no JSON \('),
    ('{"images": 1' + '0' * 5000 + '}', r'c\.json is no JSON \('),
    ('[]', r'c\.json holds no object'),
    ({}, r"c\.json has no 'categories'"),
    (changed('images', to={}), r"'images' of .*c\.json is not a list"),
    (changed('images', 0, to=3), r'image 0 of .*c\.json is no object'),
    (changed('images', 0, 'width', to='8'), r"'width' of image 0 of .* is not a whole number"),
    (changed('images', 0, 'width', to=True), r"'width' of image 0 of .* is not a whole number"),
    (changed('images', 0, 'file_name', to='../a.png'), r"image 0 of .*, '\.\./a\.png', lies outsi"),
    (changed('images', 0, 'file_name', to=''), r"image 0 of .*, '', lies outside"),
    (changed('images', 0, 'file_name', to='/etc/a.png'), r"'/etc/a\.png', lies outside"),
    (changed('images', 0, 'file_name', to='a\n.png'), r"'a\\n\.png', lies outside"),
    (changed('categories', 1, 'id', to=7), 'two categories with the id 7'),
    (changed('annotations', 0, 'image_id', to=5), 'annotation 0 of .* has the image_id 5, whi'),
    (changed('annotations', 0, 'category_id', to=5), 'annotation 0 of .* has the category_id 5'),
    (changed('annotations', 0, 'segmentation', to=[]), 'annotation 0 of .* has a box and no'),
    (changed('annotations', 0, 'segmentation', to='x'), "'segmentation' of annotation 0 .* a list"),
    (changed('annotations', 0, 'segmentation', to=[[1, 2, 3]]), 'has 3 numbers in a row'),
    (changed('annotations', 0, 'segmentation', to=[[1, None]]), 'a coordinate of .* not a number'),
    (changed('annotations', 0, 'segmentation', to=[[1, float('nan')]]), 'a coordinate of .* not'),
    (changed('annotations', 0, 'segmentation', to={'counts': [1]}), "has no 'size'"),
    (changed('annotations', 0, 'segmentation', to={'size': [6, 8], 'counts': [1.5]}), 'a run of'),
  ],
)  # fmt: skip
def test_what_cannot_be_understood_is_named(tmp_path, data, message):
  with pytest.raises(UserError, match=message) as error:
    read(tmp_path, data)
  assert str(error.value).endswith('.') and '\n' not in str(error.value)


def test_two_images_of_one_id_are_refused(tmp_path):
  data = coco()
  data['images'] *= 2
  with pytest.raises(UserError, match='two images with the id 1'):
    read(tmp_path, data)


def test_a_file_that_is_none_or_too_large_is_refused(tmp_path, monkeypatch):
  with pytest.raises(UserError, match=r'nowhere\.json does not exist'):
    read_coco(tmp_path / 'nowhere.json', tmp_path)
  with pytest.raises(UserError, match='is no file'):
    read_coco(tmp_path, tmp_path)
  monkeypatch.setenv('PSPNET_JAX_MAX_BYTES', '9')
  with pytest.raises(UserError, match=r'c\.json has \d+ bytes, and 9 is the limit'):
    read(tmp_path, coco())


SEEDS = [
  json.dumps(coco((1, 3, [box(0, 0, 2.5, 2)], {}), (1, 7, [box(1, 1, 9, 9)], {'iscrowd': 1}))),
  json.dumps(coco((1, 3, {'size': [6, 8], 'counts': [6, 36, 6]}, {'iscrowd': 1}))),
  json.dumps(coco((1, 3, {'size': [6, 8], 'counts': '6T16'}, {}))),
]


@fuzz
@given(mutated([seed.encode() for seed in SEEDS]))
def test_mutated_files_end_well(tmp_path_factory, data):
  root = tmp_path_factory.getbasetemp() / 'coco'
  image(root / 'a.png')
  (root / 'c.json').write_bytes(data)

  def prepare():
    drawn = read_coco(root / 'c.json', root)
    for i, example in enumerate(drawn.examples):
      for shape in example.shapes:
        shape.patch((6, 8))
        shape.reaches_beyond((6, 8))
      assert str(root / example.name).startswith(str(root)), i

  ends_well(prepare)
