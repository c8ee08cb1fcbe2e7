"""Images to compare on: of a folder evenly, cut to a size, or drawn."""

import numpy as np
import pytest
from PIL import Image

from pspnet_jax.errors import UserError
from pspnet_jax.exports.sample_images import SampleImages, fitted


@pytest.fixture
def folder(tmp_path):
  for i in range(10):
    Image.fromarray(np.full((40, 60, 3), i, np.uint8)).save(tmp_path / f'{i}.png')
  return tmp_path


def test_files_are_chosen_evenly_and_the_rest_is_apart(folder):
  images = SampleImages.of(folder, (20, 20), (9, 9), 'upright')
  some = images.some(5)
  assert [int(x[0, 0, 0]) for x in some] == [0, 2, 4, 6, 8] and len(some) == 5
  rest = images.some(100, apart=some)
  assert [int(x[0, 0, 0]) for x in rest] == [1, 3, 5, 7, 9]
  assert all(x.shape == (20, 20, 3) for x in rest)


def test_without_files_scenes_are_drawn_of_two_sizes_if_these_are_free():
  drawn = SampleImages.of(None, (8, 50), (9, 9), 'upright').some(20)
  assert len(drawn) == 2 and [x.shape for x in drawn] == [(8, 50, 3)] * 2
  free = list(SampleImages.of(None, None, (41, 57), 'upright'))
  assert [x.shape for x in free] == [(41, 57, 3), (54, 43, 3)] and np.ptp(free[0]) > 50


def test_an_image_keeps_its_proportions_and_its_middle():
  image = np.zeros((40, 80, 3), np.uint8)
  image[:, 20:60] = 200
  assert (fitted(image, (20, 20)) == 200).all()
  assert fitted(image, (80, 30)).shape == (80, 30, 3)
  assert fitted(image, None) is image and fitted(image, (40, 80)) is image


def test_a_folder_without_images_is_refused(tmp_path):
  with pytest.raises(UserError, match='holds no image'):
    SampleImages.of(tmp_path, (8, 8), (8, 8), 'upright')
