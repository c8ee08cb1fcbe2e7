"""One example looked at closely: what is in it, and everything that is wrong with it."""

import numpy as np
from PIL import Image

from pspnet_jax.checkup.survey import examine
from pspnet_jax.data.label_ids import colour_table, label_table
from pspnet_jax.data.paired_files import PairedFiles
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.errors import BadData, UserError

SPEC = DatasetSpec(('a', 'b'), ((0, 0, 0), (1, 1, 1)))


def files(folder, image, ids):
  paths = folder / 'x.png', folder / 'x_label.png'
  for path, array in zip(paths, (image, ids), strict=True):
    if isinstance(array, bytes):
      path.write_bytes(array)
    else:
      Image.fromarray(np.asarray(array)).save(path)
  return PairedFiles(SPEC, label_table([10, 20], ignore_ids=[0]), [paths])


def picture(height=2, width=3):
  return np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)


def test_a_sound_pair_is_counted_as_stored_and_as_classes(tmp_path):
  record = examine(files(tmp_path, picture(), np.array([[0, 10, 10], [20, 255, 10]], np.uint8)), 0)
  assert record.faults == [] and record.name == 'x' and record.label_file.endswith('x_label.png')
  assert record.ids == {0: 1, 10: 3, 20: 1, 255: 1}
  assert record.class_pixels.tolist() == [3, 1]
  assert (record.size, record.pixels, record.ignored) == ((2, 3), 6, 2)
  assert record.ignored_share == 2 / 6 and not record.constant


def test_all_that_is_wrong_is_noted_at_once(tmp_path):
  source = files(tmp_path, picture(4, 4), np.array([[10, 77, 20]], np.uint8))
  record = examine(source, 0)
  assert [fault.kind for fault in record.faults] == ['illegal ids', 'sizes differ']
  assert record.class_pixels.tolist() == [1, 1] and record.pixels == 3  # what is legal counts


def test_a_file_that_cannot_be_read_does_not_hide_the_other(tmp_path):
  record = examine(files(tmp_path, b'', np.array([[10, 20]], np.uint8)), 0)
  [fault] = record.faults
  assert fault.kind == 'empty file' and fault.where.endswith('x.png') and record.size is None
  assert record.class_pixels.tolist() == [1, 1]
  record = examine(files(tmp_path, picture(), b'no image'), 0)
  assert [fault.where.endswith('x_label.png') for fault in record.faults] == [True]
  assert record.size == (2, 3) and record.class_pixels is None and record.pixels == 0


def test_equal_pixels_have_equal_hashes_and_other_shapes_have_not(tmp_path):
  ids = np.full((2, 3), 10, np.uint8)
  hashes = []
  for i, image in enumerate((picture(), picture(), picture(3, 2))):
    (tmp_path / str(i)).mkdir()
    hashes.append(examine(files(tmp_path / str(i), image, ids), 0).image_hash)
  assert hashes[0] == hashes[1] != hashes[2]


def test_an_image_of_one_colour_is_noted(tmp_path):
  flat = np.full((2, 3, 3), 7, np.uint8)
  assert examine(files(tmp_path, flat, np.full((2, 3), 10, np.uint8)), 0).constant


def test_colours_are_counted_like_ids(tmp_path):
  colours = np.array([[(0, 0, 0), (9, 0, 0), (9, 0, 0)], [(0, 0, 0), (0, 0, 0), (0, 0, 9)]])
  source = files(tmp_path, picture(), colours.astype(np.uint8))
  table = colour_table([[(0, 0, 0)], [(9, 0, 0)]], ignored=[(7, 7, 7)])
  record = examine(PairedFiles(SPEC, table, source.pairs), 0)
  assert record.ids == {0: 3, 9 << 16: 2, 9: 1} and record.class_pixels.tolist() == [3, 2]
  assert [fault.kind for fault in record.faults] == ['unknown colour']
  assert record.palette == {}  # its indices mean nothing


def test_of_a_picture_in_place_of_a_label_the_most_frequent_ids_are_kept(tmp_path):
  ids = np.arange(64 * 64, dtype=np.int32).reshape(64, 64) % 3000  # the first 1096 are twice there
  source = files(tmp_path, picture(64, 64), ids.astype(np.uint16))
  for dtype, suffix in ((np.uint16, 'png'), (np.int32, 'tif')):
    path = tmp_path / f'x_label.{suffix}'
    Image.fromarray(ids.astype(dtype)).save(path)
    found = examine(PairedFiles(SPEC, source.table, [(source.pairs[0][0], path)]), 0).ids
    assert len(found) == 1024 and set(found.values()) == {2} and max(found) < 1096


class Any:
  """A source that has nothing but indexing."""

  spec = SPEC

  def __len__(self):
    return 3

  def __getitem__(self, index):
    if index == 1:
      raise BadData('too dark', 'example 1 is too dark: light it.')
    if index == 2:
      raise UserError('example 2 is missing.')
    label = np.array([[0, 1, 255]], np.uint8)
    return {'image': picture(1, 3), 'label': label, 'name': 'zero'}


def test_any_source_can_be_examined():
  sound, dark, missing = (examine(Any(), i) for i in range(3))
  assert sound.name == 'zero' and sound.class_pixels.tolist() == [1, 1] and sound.ignored == 1
  assert [f.kind for f in dark.faults + missing.faults] == ['too dark', 'unusable example']
  assert dark.name == 'example 1' and dark.pixels == 0
