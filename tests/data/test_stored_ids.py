"""The array that was saved, or a refusal."""

import cv2
import numpy as np
import pytest
from PIL import Image

from pspnet_jax.data.decode import read_ids
from tests.data.image_files import raises_one_sentence, save, tiff

IDS = np.array([[0, 1, 2, 200], [3, 3, 127, 255]])


@pytest.mark.parametrize(
  'dtype', ['u1', 'i1', '<u2', '>u2', '<i2', '>i2', '<u4', '>u4', '<i4', '>i4']
)
@pytest.mark.parametrize('white_is_zero', [False, True])
def test_whole_numbers_of_any_kind_are_exact_or_refused(tmp_path, dtype, white_is_zero):
  ids = IDS.astype(dtype)
  path = tiff(tmp_path / 'a.tif', ids, t262=int(not white_is_zero))
  if dtype == '>u4' or (white_is_zero and dtype not in ('u1', '<u2')):  # Pillow opens none
    assert f'{8 * ids.itemsize}-bit' in raises_one_sentence(read_ids, path)
    return
  found = read_ids(path)
  assert found.dtype in (np.uint8, np.uint16, np.int32) and found.dtype.isnative
  np.testing.assert_array_equal(found, ids.astype(int))


def test_negative_and_vast_ids_are_exact_or_refused(tmp_path):
  for dtype in ('i1', '<i2', '<i4'):
    assert read_ids(tiff(tmp_path / 'a.tif', np.array([[-1, 5]], dtype))).tolist() == [[-1, 5]]
  vast = tiff(tmp_path / 'a.tif', np.array([[2**31, 5]], '<u4'))
  assert '2,147,483,648' in raises_one_sentence(read_ids, vast)


@pytest.mark.parametrize('white_is_zero', [False, True])
@pytest.mark.parametrize('bits, packed', [(1, 0b01100000), (2, 0b00011011), (4, 0x2F)])
def test_ids_of_less_than_eight_bits_are_exact(tmp_path, bits, packed, white_is_zero):
  count = {1: 4, 2: 4, 4: 2}[bits]
  options = {'t256': count, 't258': bits, 't262': int(not white_is_zero)}
  found = read_ids(tiff(tmp_path / 'a.tif', np.uint8([[packed]]), **options))
  wanted = [packed >> (8 - bits * (i + 1)) & (1 << bits) - 1 for i in range(count)]
  assert found.tolist() == [wanted]


@pytest.mark.parametrize('compression', ['tiff_lzw', 'tiff_adobe_deflate', 'packbits'])
def test_compressed_ids_are_exact(tmp_path, compression):
  path = save(tmp_path / 'a.tif', IDS.astype(np.uint8), compression=compression)
  np.testing.assert_array_equal(read_ids(path), IDS)
  bilevel = save(tmp_path / 'b.tif', Image.fromarray(IDS > 2), compression='group4')
  np.testing.assert_array_equal(read_ids(bilevel), IDS > 2)


@pytest.mark.parametrize('colours', [False, True])
@pytest.mark.parametrize('name', ['a.jpg', 'a.webp', 'a.jp2', 'a.avif', 'jpeg.tif', 'exact.webp'])
def test_formats_that_may_change_ids_are_refused(tmp_path, name, colours):
  options = {'jpeg.tif': {'compression': 'jpeg'}, 'exact.webp': {'lossless': True}}.get(name, {})
  path = save(tmp_path / name, np.zeros((16, 16, 3), np.uint8), **options)
  message = raises_one_sentence(lambda path: read_ids(path, colours=colours), path)
  assert 'compression changes ids' in message


@pytest.mark.parametrize('dtype', ['<f2', '<f4', '<f8', '<i8', '<u8'])
def test_floats_and_numbers_of_64_bits_are_refused_by_their_names(tmp_path, dtype):
  message = raises_one_sentence(read_ids, tiff(tmp_path / 'a.tif', IDS.astype(dtype)))
  assert f'{8 * np.dtype(dtype).itemsize}-bit' in message
  assert ('floating-point' in message) == (dtype[1] == 'f')


def test_several_bands_are_refused(tmp_path):
  path = tiff(tmp_path / 'a.tif', np.zeros((2, 6), np.uint8), t256=2, t277=3)
  assert '3 bands' in raises_one_sentence(read_ids, path)


def test_graymaps_that_pillow_scales_are_refused(tmp_path):
  (tmp_path / 'a.pgm').write_bytes(b'P5 2 1 255\n\x00\x07')
  assert read_ids(tmp_path / 'a.pgm').tolist() == [[0, 7]]
  for content in (b'P5 2 1 20\n\x00\x07', b'P2 2 1 20\n0 7\n'):
    (tmp_path / 'b.pgm').write_bytes(content)
    assert 'exactly' in raises_one_sentence(read_ids, tmp_path / 'b.pgm')


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('name', ['a.png', 'a.tif', 'grey.tif'])
def test_no_label_is_turned_by_its_exif_data(tmp_path, name, orientation):
  exif = Image.Exif()
  exif[0x0112] = orientation
  colours = np.random.default_rng(0).integers(0, 256, (3, 4, 3), np.uint8)
  path = save(tmp_path / name, colours[..., 0] if 'grey' in name else colours, exif=exif)
  if 'grey' in name:
    np.testing.assert_array_equal(read_ids(path), colours[..., 0])
  packed = read_ids(path, colours=True)
  np.testing.assert_array_equal(packed >> 16, colours[..., 0])


def test_alpha_beside_grey_matters_only_where_it_is_less_than_all(tmp_path):
  pixels = np.dstack([IDS.astype(np.uint8), np.full((2, 4), 255, np.uint8)])
  np.testing.assert_array_equal(read_ids(save(tmp_path / 'a.png', pixels)), IDS)
  pixels[0, 0, 1] = 254
  path = save(tmp_path / 'a.png', pixels)
  assert 'drop the alpha channel' in raises_one_sentence(read_ids, path)


def test_png_written_by_others_is_exact(tmp_path):
  for dtype in (np.uint8, np.uint16):
    cv2.imwrite(str(tmp_path / 'a.png'), IDS.astype(dtype) * (1 if dtype == np.uint8 else 257))
    assert read_ids(tmp_path / 'a.png').dtype == dtype
    np.testing.assert_array_equal(
      read_ids(tmp_path / 'a.png'), IDS * (1 if dtype == np.uint8 else 257)
    )
