"""PNG files keep ids, and are written whole."""

import numpy as np
import pytest
from PIL import Image

from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.errors import UserError
from pspnet_jax.pictures.labels import colour
from pspnet_jax.pictures.png_files import mark_of, write_image, write_label

LABEL = np.array([[0, 1, 2, 255], [2, 2, 1, 0]], np.uint8)
SPEC = DatasetSpec(('sky', 'road', 'car'), ((70, 130, 180), (128, 64, 128), (0, 0, 142)))


def test_written_labels_keep_ids_and_show_colours(tmp_path):
  label = np.arange(256, dtype=np.uint8).reshape(16, 16)
  palette = tuple((i, 255 - i, 7 * i % 256) for i in range(255))
  spec = DatasetSpec(tuple(map(str, range(255))), palette)
  write_label(tmp_path / 'a.png', label, spec)
  written = Image.open(tmp_path / 'a.png')
  assert written.format == 'PNG' and written.mode == 'P'
  np.testing.assert_array_equal(np.asarray(written), label)
  np.testing.assert_array_equal(np.asarray(written.convert('RGB')), colour(label, spec))


def test_few_classes_still_give_eight_bits_and_255(tmp_path):
  write_label(tmp_path / 'a.png', LABEL, SPEC)
  np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / 'a.png')), LABEL)
  assert [p.name for p in tmp_path.iterdir()] == ['a.png']  # no leftovers


def test_writing_replaces_and_names_what_fails(tmp_path):
  write_image(tmp_path / 'a.png', np.zeros((2, 2, 3), np.uint8))
  write_image(tmp_path / 'a.png', np.full((3, 2, 3), 9, np.uint8))
  assert np.asarray(Image.open(tmp_path / 'a.png')).tolist() == [[[9] * 3] * 2] * 3
  with pytest.raises(UserError, match=r'cannot write to .*a\.png.b\.png'):
    write_image(tmp_path / 'a.png' / 'b.png', np.zeros((2, 2, 3), np.uint8))


def test_pictures_of_ours_are_known_again_with_their_marks(tmp_path):
  write_label(tmp_path / 'a.png', LABEL, SPEC, 'these weights')
  write_image(tmp_path / 'b.png', np.zeros((2, 2), np.uint8))
  Image.fromarray(LABEL).save(tmp_path / 'c.png')
  (tmp_path / 'd.png').touch()
  marks = [mark_of(tmp_path / f'{name}.png') for name in 'abcde']
  assert marks == ['these weights', '', None, None, None]
