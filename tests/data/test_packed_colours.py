import numpy as np
import pytest
from PIL import Image

from pspnet_jax.data import packed_colours
from tests.data.image_files import raises_one_sentence


def test_bgr_and_bgra_become_one_number_a_pixel():
  bgr = np.uint8([[[3, 2, 1], [128, 0, 255]]])
  found = packed_colours.of_bgr('a.png', bgr)
  assert found.dtype == np.int32 and found.tolist() == [[0x010203, 0xFF0080]]
  bgra = np.dstack([bgr, np.full((1, 2), 255, np.uint8)])
  assert packed_colours.of_bgr('a.png', bgra).tolist() == found.tolist()
  bgra[0, 1, 3] = 0
  assert 'alpha' in raises_one_sentence(packed_colours.of_bgr, 'a.png', bgra)


@pytest.mark.parametrize('mode', ['1', 'L', 'LA', 'P', 'RGB', 'RGBA'])
def test_pillow_images_have_the_colours_that_pillow_says(mode):
  image = Image.fromarray(np.uint8([[[255] * 3, [0] * 3]])).convert(mode)
  assert packed_colours.of_pillow('a.png', image).tolist() == [[0xFFFFFF, 0]]


@pytest.mark.parametrize('mode', ['I', 'F', 'CMYK', 'YCbCr', 'RGBX'])
def test_other_modes_are_refused(mode):
  image = Image.new(mode, (2, 2))
  assert mode in raises_one_sentence(packed_colours.of_pillow, 'a.png', image)
