import logging

import numpy as np
import pytest
from PIL import Image

from pspnet_jax.data.image_reader import ImageReader
from pspnet_jax.errors import UserError


@pytest.mark.parametrize('held', ['upright', 'stored'])
def test_the_first_turned_image_is_named_and_no_other(tmp_path, caplog, held):
  pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 3), np.uint8)
  exif = Image.Exif()
  exif[0x0112] = 3
  for name, options in (('a', {}), ('b', {'exif': exif}), ('c', {'exif': exif})):
    Image.fromarray(pixels).save(tmp_path / f'{name}.png', **options)
  read = ImageReader(held)
  with caplog.at_level(logging.WARNING, 'pspnet_jax'):
    images = [read(tmp_path / f'{name}.png') for name in 'abc']
  [record] = caplog.records
  assert str(tmp_path / 'b.png') in record.getMessage() and f'={held}' in record.getMessage()
  wanted = pixels[::-1, ::-1] if held == 'upright' else pixels
  for image, expected in zip(images, (pixels, wanted, wanted), strict=True):
    np.testing.assert_array_equal(image, expected)


def test_another_setting_is_refused():
  with pytest.raises(UserError, match=r"exif='up' .*'upright' or 'stored'\."):
    ImageReader('up')
