"""labelme's files are understood exactly, or refused with the shape that cannot be."""

import json

import pytest
from hypothesis import given

from pspnet_jax.data.builders.labelme import read_labelme
from pspnet_jax.errors import UserError
from tests.data.builders.shapes import image, labelme, write
from tests.mutations import ends_well, fuzz, mutated

SQUARE = ('car', [[0, 0], [2, 0], [2, 2], [0, 2]], 'polygon')


def changed(*keys, to):
  data = labelme(SQUARE)
  at = data
  for key in keys[:-1]:
    at = at[key]
  at[keys[-1]] = to
  return data


def test_images_are_found_where_the_file_says_or_beside_it(tmp_path):
  image(tmp_path / 'photos/a.png')
  image(tmp_path / 'json/b.jpg')
  write(tmp_path / 'json/a.json', labelme(SQUARE, file='..\\photos\\a.png'))
  write(tmp_path / 'json/b.json', labelme(SQUARE, file='/home/someone/else/b.png'))
  write(tmp_path / 'json/.ipynb_checkpoints/a.json', labelme(SQUARE))
  first, second = read_labelme(tmp_path / 'json').examples
  assert (first.name, first.image) == ('a', tmp_path / 'json/../photos/a.png')
  assert (second.name, second.image) == ('b', tmp_path / 'json/b.jpg')


def test_old_files_say_no_size_and_no_type(tmp_path):
  data = changed('shapes', 0, to={'label': 'car', 'points': [[0, 0], [2, 0], [2, 2]]})
  del data['imageHeight'], data['imageWidth']
  write(tmp_path / 'a.json', data)
  [example] = read_labelme(tmp_path).examples
  assert example.size is None and example.shapes[0].patch((6, 8)).area == 3


@pytest.mark.parametrize(
  'data, message',
  [
    ('{', r'a\.json is no JSON'),
    ({'info': 1}, r"a\.json has no 'imagePath'"),
    (changed('imagePath', to='a\n.png'), r"has the odd imagePath 'a\\n\.png'"),
    (changed('imageHeight', to='6'), "'imageHeight' of .* is not a whole number"),
    (changed('shapes', 0, 'label', to=None), "'label' of shape 0 of .* is not a text"),
    (changed('shapes', 0, 'points', to=[[1]]), r"a point of 'points' of shape 0 of .* has 1 numb"),
    (changed('shapes', 0, 'points', to=[[1, 'x']]), 'a coordinate of .* is not a number'),
    (changed('shapes', 0, 'shape_type', to='mask'), "shape 0 of .* is a 'mask', which is not read"),
    (changed('shapes', 0, 'shape_type', to='circle'), "shape 0 of .* is a 'circle', which"),
  ],
)  # fmt: skip
def test_what_cannot_be_understood_is_named(tmp_path, data, message):
  write(tmp_path / 'a.json', data)
  with pytest.raises(UserError, match=message) as error:
    read_labelme(tmp_path)
  assert str(error.value).endswith('.') and '\n' not in str(error.value)


def test_a_folder_without_annotations_is_refused(tmp_path):
  with pytest.raises(UserError, match='holds no JSON file'):
    read_labelme(tmp_path)
  with pytest.raises(UserError, match='nowhere is no folder'):
    read_labelme(tmp_path / 'nowhere')


@fuzz
@given(mutated([json.dumps(labelme(SQUARE, ('x', [[0, 0], [3, 3.5]], kind))).encode()
                for kind in ('rectangle', 'circle', 'point')]))  # fmt: skip
def test_mutated_files_end_well(tmp_path_factory, data):
  root = tmp_path_factory.getbasetemp() / 'labelme'
  root.mkdir(exist_ok=True)
  (root / 'a.json').write_bytes(data)

  def prepare():
    for shape in read_labelme(root).examples[0].shapes:
      shape.patch((6, 8))

  ends_well(prepare)
