"""Pairs of files: a base for layouts of one's own."""

import numpy as np
import pytest
from PIL import Image

from pspnet_jax.data.label_ids import label_table
from pspnet_jax.data.paired_files import PairedFiles
from pspnet_jax.data.spec import DatasetSpec, StoredLabels
from pspnet_jax.errors import BadData, UserError

SPEC = DatasetSpec(('road', 'tree'), ((9, 9, 9), (0, 99, 0)))
TABLE = label_table((3, 7), (0,))
IDS = np.array([[3, 7, 0], [7, 7, 255]], np.uint8)
LABEL = np.array([[0, 1, 255], [1, 1, 255]], np.uint8)


@pytest.fixture
def pairs(tmp_path):
  found = []
  for i, name in enumerate('ab'):
    image, label = tmp_path / f'{name}.png', tmp_path / f'{name}_ids.png'
    Image.fromarray(np.full((2, 3, 3), i, np.uint8)).save(image)
    Image.fromarray(IDS).save(label)
    found.append((image, label))
  return found


def test_examples_are_decoded_and_ids_become_classes(pairs):
  source = PairedFiles(SPEC, TABLE, pairs)
  assert len(source) == 2 and source.spec is SPEC
  example = source[1]
  assert example['name'] == source.name(1) == 'b'
  np.testing.assert_array_equal(example['image'], np.full((2, 3, 3), 1))
  np.testing.assert_array_equal(example['label'], LABEL)
  assert example['image'].dtype == example['label'].dtype == np.uint8


def test_the_doctor_sees_what_the_files_hold(pairs):
  source = PairedFiles(SPEC, TABLE, pairs)
  assert isinstance(source, StoredLabels)
  np.testing.assert_array_equal(source.stored_label(0), IDS)
  np.testing.assert_array_equal(source.label(0), LABEL)
  np.testing.assert_array_equal(source.image(0), source[0]['image'])
  assert source.files(0) == pairs[0]


def test_pairs_may_come_one_after_another_and_have_names(pairs):
  source = PairedFiles(SPEC, TABLE, iter(pairs))
  assert [source[i]['name'] for i in range(2)] == ['a', 'b']
  named = PairedFiles(SPEC, TABLE, zip(*zip(*pairs, strict=True), strict=True), ['x/a', 'x/b'])
  assert named[0]['name'] == 'x/a'


def test_names_for_other_pairs_are_refused(pairs):
  with pytest.raises(UserError, match='1 names for 2 pairs: give one each'):
    PairedFiles(SPEC, TABLE, pairs, ['a'])


def test_a_table_of_more_classes_than_there_are_is_refused(pairs):
  with pytest.raises(UserError, match='makes class 2 of an id, and there are 2 classes'):
    PairedFiles(SPEC, label_table((3, 7, 9), (0,)), pairs)


def test_an_id_without_a_class_is_named_with_its_file(pairs):
  Image.fromarray(np.full((2, 3), 5, np.uint8)).save(pairs[1][1])
  source = PairedFiles(SPEC, TABLE, pairs)
  source[0]
  with pytest.raises(BadData, match=r'b_ids\.png.*5') as caught:
    source[1]
  assert caught.value.kind == 'illegal ids'
  with pytest.raises(BadData, match=r'b_ids\.png'):
    source.label(1)


def test_sizes_that_differ_are_named_with_both_files(pairs):
  Image.fromarray(IDS[:, :2]).save(pairs[0][1])
  with pytest.raises(BadData, match=r'a\.png is 3x2 but .*a_ids\.png is 2x2') as caught:
    PairedFiles(SPEC, TABLE, pairs)[0]
  assert caught.value.kind == 'sizes differ'


def test_a_label_turned_against_its_image_is_recognised(pairs):
  exif = Image.Exif()
  exif[0x0112] = 6  # a quarter turn
  Image.fromarray(np.zeros((2, 3, 3), np.uint8)).save(pairs[0][0], exif=exif)
  Image.fromarray(IDS.T.copy()).save(pairs[0][1])
  with pytest.raises(BadData, match=r'turned by its EXIF orientation \(6\)'):
    PairedFiles(SPEC, TABLE, pairs, exif='stored')[0]
  assert PairedFiles(SPEC, TABLE, pairs)[0]['image'].shape == (3, 2, 3)
