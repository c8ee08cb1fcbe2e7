import io
import struct

import numpy as np
import pytest
from PIL import Image

from pspnet_jax.data import tiff


def encoded(image, **options):
  file = io.BytesIO()
  Image.fromarray(image).save(file, 'TIFF', **options)
  return file.getvalue()


def with_tag(data, number, value):
  """The same file with another value of a tag that holds one short."""
  at = data.index(struct.pack('<HHI', number, 3, 1)) + 8
  return data[:at] + struct.pack('<H', value) + data[at + 2 :]


RGB = np.zeros((4, 6, 3), np.uint8)


@pytest.mark.parametrize(
  'image, described',
  [
    (RGB, '3 bands of 8-bit numbers'),
    (RGB[..., 0], 'one band of 8-bit numbers'),
    (RGB[..., 0].astype(np.int32), 'one band of 32-bit signed numbers'),
    (RGB[..., 0].astype(np.float32), 'one band of 32-bit floating-point numbers'),
  ],
)
def test_bands_are_described(image, described):
  found = tiff.parse(encoded(image))
  assert str(found) == described and found.is_photo and not found.is_thumbnail


@pytest.mark.parametrize('big', [False, True])
def test_both_sizes_of_file_are_read(big):
  assert str(tiff.parse(encoded(RGB, big_tiff=big))) == '3 bands of 8-bit numbers'


def test_a_fourth_band_is_a_photo_s_only_if_it_is_alpha():
  rgba = encoded(np.zeros((4, 6, 4), np.uint8))
  assert tiff.parse(rgba).is_photo
  assert not tiff.parse(with_tag(rgba, 338, 0)).is_photo
  assert not tiff.parse(with_tag(encoded(RGB), 262, 1)).is_photo


@pytest.mark.parametrize('name', ['tiff_lzw', 'tiff_adobe_deflate', 'packbits', 'jpeg'])
def test_compressions_that_change_values_are_told(name):
  assert tiff.parse(encoded(RGB, compression=name)).lossy == ('JPEG' if name == 'jpeg' else '')


def test_what_is_no_tiff_has_no_tags():
  data = encoded(RGB)
  for wrong in (b'', b'II*\0', data[:8], b'II*\0' + b'\xff' * 40, b'II*\0\x08\0\0\0\0\0'):
    found = tiff.parse(wrong)
    assert found is None or found.bands == 1
