import numpy as np
import pytest
from PIL import Image, ImageOps

from pspnet_jax.data.orientation import orientation_of, turned


def with_orientation(pixels, value):
  image = Image.fromarray(pixels)
  image.getexif()[0x0112] = value
  return image


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('shape', [(5, 7, 3), (6, 6), (4, 4, 3)])
def test_images_are_turned_as_pillow_turns_them_and_back(orientation, shape):
  pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
  image = with_orientation(pixels, orientation)
  assert orientation_of(image) == orientation
  found = turned(pixels, orientation)
  np.testing.assert_array_equal(found, np.asarray(ImageOps.exif_transpose(image)))
  np.testing.assert_array_equal(turned(found, orientation, back=True), pixels)


@pytest.mark.parametrize('dtype', [np.uint16, np.int32])
def test_ids_are_turned_too(dtype):
  ids = np.array([[1, 2, 60000]], dtype)
  assert turned(ids, 6).tolist() == [[1], [2], [60000]] and turned(ids, 6).dtype == dtype


@pytest.mark.parametrize('value', [0, 9, -1, 6.5, 'top'])
def test_what_is_no_orientation_is_upright(value):
  assert orientation_of(with_orientation(np.zeros((2, 3), np.uint8), value)) == 1
