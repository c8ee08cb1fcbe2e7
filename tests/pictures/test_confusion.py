"""The picture of a confusion matrix shows where the pixels went."""

import numpy as np
import pytest

from pspnet_jax.data.known_classes import known_classes
from pspnet_jax.data.palettes import default_palette
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.pictures import confusion

SPEC = DatasetSpec(('road', 'sky', 'yak'), default_palette(3))


@pytest.mark.parametrize('num_classes', [3, 150])
def test_the_confusion_picture_is_darkest_on_the_diagonal_of_a_sound_network(num_classes):
  spec = SPEC if num_classes == 3 else known_classes(num_classes)
  picture = confusion.draw(np.eye(num_classes, dtype=np.int64) * 5, spec)
  dark = (picture == confusion._DARK).all(-1)
  cell = 44 if num_classes == 3 else 13
  assert dark.sum() >= num_classes * (cell - 2) ** 2 * 0.8  # less the numbers
  rows, columns = np.nonzero(dark)
  np.testing.assert_array_equal((rows - rows.min()) // cell, (columns - columns.min()) // cell)


def test_a_class_without_pixels_has_an_empty_row():
  empty = confusion.draw(np.zeros((3, 3), np.int64), SPEC)
  assert not (empty == confusion._DARK).all(-1).any()
