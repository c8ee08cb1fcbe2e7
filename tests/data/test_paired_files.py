"""Pairs of files as a source: what indexing gives, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from pspnet_jax.data.decode import label_table
from pspnet_jax.data.paired_files import PairedFiles
from pspnet_jax.data.spec import DatasetSpec, StoredLabels
from pspnet_jax.errors import UserError

SPEC = DatasetSpec(('a', 'b'), ((0, 0, 0), (1, 1, 1)))
TABLE = label_table([10, 20], ignore_ids=[0])


def write(folder, name, ids, size=(6, 4), exif=None):
  image, label = folder / f'{name}.jpg', folder / f'{name}.png'
  Image.new('RGB', size, (9, 9, 9)).save(image, exif=exif or Image.Exif())
  Image.fromarray(np.array(ids, np.uint8)).save(label)
  return image, label


def test_ids_become_classes_and_are_kept_as_stored(tmp_path):
  pair = write(tmp_path, 'x', [[0, 10, 20, 255, 20, 10]] * 4)
  source = PairedFiles(SPEC, TABLE, [pair])
  example = source[0]
  assert example['name'] == 'x' and example['image'].shape == (4, 6, 3)
  assert example['label'][0].tolist() == [255, 0, 1, 255, 1, 0]
  assert source.stored_label(0)[0].tolist() == [0, 10, 20, 255, 20, 10]
  np.testing.assert_array_equal(source.label(0), example['label'])
  assert source.files(0) == pair and isinstance(source, StoredLabels)


def test_names_may_be_given(tmp_path):
  pair = write(tmp_path, 'x', [[10] * 6] * 4)
  assert PairedFiles(SPEC, TABLE, [pair], names=['drive 7'])[0]['name'] == 'drive 7'
  with pytest.raises(UserError, match='2 names for 1 pairs'):
    PairedFiles(SPEC, TABLE, [pair], names=['a', 'b'])


def test_a_table_of_more_classes_than_the_spec_is_refused():
  with pytest.raises(UserError, match='makes class 2 of an id, and there are 2 classes'):
    PairedFiles(SPEC, label_table([10, 20, 30]), [])


def test_sizes_that_differ_are_named_and_a_turned_photograph_explained(tmp_path):
  source = PairedFiles(SPEC, TABLE, [write(tmp_path, 'x', [[10] * 4] * 4)])
  with pytest.raises(
    UserError, match=r'x\.jpg is 6x4 but .*x\.png is 4x4 .*make their sizes equal'
  ):
    source[0]
  turned = Image.Exif()
  turned[0x0112] = 6
  source = PairedFiles(SPEC, TABLE, [write(tmp_path, 'y', [[10] * 4] * 6, exif=turned)])
  with pytest.raises(UserError, match=r'EXIF orientation \(6\)'):
    source[0]
