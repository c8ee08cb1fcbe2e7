import functools
import io
import os
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from pspnet_jax.data.decode import exif_orientation, palette_of, read_ids, read_image
from pspnet_jax.errors import UserError
from tests.data.image_files import grey_png, raises_one_sentence, save, tiff
from tests.mutations import ends_well, fuzz, mutated


@pytest.fixture
def rgb():
  """A colourful image, wider than high, smooth enough to survive JPEG."""
  noise = np.random.default_rng(0).uniform(0, 255, (6, 8, 3)).astype(np.uint8)
  return np.asarray(Image.fromarray(noise).resize((80, 60), Image.Resampling.BICUBIC))


@pytest.mark.parametrize('name', ['a.jpg', 'a.png', 'a.bmp', 'a.tif', 'a.webp'])
def test_image_formats(tmp_path, rgb, name):
  found = read_image(save(tmp_path / name, rgb))
  assert found.shape == (60, 80, 3)
  assert found.dtype == np.uint8
  assert np.abs(found.astype(int) - rgb).mean() < 8


@pytest.mark.parametrize(
  'mode, suffix',
  [('L', 'jpg'), ('L', 'png'), ('CMYK', 'jpg'), ('RGBA', 'png'), ('P', 'png'), ('LA', 'png')],
)
def test_grey_cmyk_palette_and_transparent_images_become_rgb(tmp_path, rgb, mode, suffix):
  found = read_image(save(tmp_path / f'a.{suffix}', rgb, mode))
  wanted = np.asarray(Image.fromarray(rgb).convert(mode).convert('RGB'), int)
  assert found.shape == (60, 80, 3)
  assert np.abs(found - wanted).mean() < 8


@pytest.mark.parametrize('fraction', [0.02, 0.5, 0.9, 0.99])
@pytest.mark.parametrize(
  'name', ['a.jpg', 'progressive.jpg', 'thumbnail.jpg', 'a.png', 'a.tif', 'a.webp']
)
def test_truncated_image(tmp_path, rgb, name, fraction):
  path = save(tmp_path / name, rgb, **({'progressive': True} if name == 'progressive.jpg' else {}))
  data = path.read_bytes()
  if name == 'thumbnail.jpg':  # an APP1 segment with a whole JPEG, end marker and all, within
    small = save(tmp_path / 'small.jpg', rgb[::8, ::8]).read_bytes()
    data = data[:2] + b'\xff\xe1' + struct.pack('>H', len(small) + 2) + small + data[2:]
    path.write_bytes(data)
    assert read_image(path).shape == rgb.shape
  path.write_bytes(data[: int(len(data) * fraction)])
  raises_one_sentence(read_image, path)


def test_file_of_the_right_length_but_half_zeros(tmp_path, rgb):
  path = save(tmp_path / 'a.jpg', rgb)
  data = path.read_bytes()
  path.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
  raises_one_sentence(read_image, path)


def test_missing_empty_and_foreign_files(tmp_path):
  for name, content in (
    ('empty.jpg', b''),
    ('text.jpg', b'hello'),
    ('text.png', b'\x89PNG\r\n\x1a\n'),
  ):
    (tmp_path / name).write_bytes(content)
  assert 'No such file' in raises_one_sentence(read_image, tmp_path / 'missing.jpg')
  assert 'empty' in raises_one_sentence(read_image, tmp_path / 'empty.jpg')
  raises_one_sentence(read_image, tmp_path / 'text.jpg')
  raises_one_sentence(read_image, tmp_path / 'text.png')
  raises_one_sentence(read_image, tmp_path)


@pytest.mark.parametrize('name', ['grey.png', 'colour.png', 'colour.tif'])
def test_sixteen_bit_images_are_refused(tmp_path, rgb, name):
  path = tmp_path / name
  cv2.imwrite(str(path), (rgb[..., 0] if 'grey' in name else rgb).astype(np.uint16) * 257)
  assert '8 bits' in raises_one_sentence(read_image, path)


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('suffix', ['jpg', 'png', 'tif', 'webp', 'avif'])
@pytest.mark.parametrize('shape', [(60, 80), (64, 64)])
def test_every_format_is_turned_by_one_rule(tmp_path, rgb, suffix, orientation, shape):
  exif = Image.Exif()
  exif[0x0112] = orientation
  rgb = np.resize(rgb, (*shape, 3))
  path = save(tmp_path / f'a.{suffix}', rgb, exif=exif)
  plain = read_image(save(tmp_path / f'plain.{suffix}', rgb))
  if suffix != 'avif':  # whose orientation is a property of its own, that decoders follow
    assert exif_orientation(path) == orientation
    np.testing.assert_array_equal(read_image(path, exif='stored'), plain)
  image = Image.fromarray(plain)
  image.getexif()[0x0112] = orientation
  np.testing.assert_array_equal(read_image(path), np.asarray(ImageOps.exif_transpose(image)))


def test_another_word_for_exif_is_refused(tmp_path, rgb):
  path = save(tmp_path / 'a.png', rgb)
  with pytest.raises(UserError, match=r"exif='turned' .* give 'upright' or 'stored'\.$"):
    read_image(path, exif='turned')


def test_damaged_metadata_leave_pixels_as_they_are(tmp_path, rgb):
  data = save(tmp_path / 'a.jpg', rgb, exif=b'Exif\0\0' + b'MM\0*' + b'\xff' * 20).read_bytes()
  found = read_image('a.jpg', data=data)
  np.testing.assert_array_equal(found, read_image(save(tmp_path / 'b.jpg', rgb)))


def test_an_orientation_that_is_changed_in_place_is_seen(tmp_path, rgb):
  def of(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return save(tmp_path / 'a.jpg', rgb, exif=exif)

  size, upright = of(1).stat().st_size, read_image(tmp_path / 'a.jpg')
  assert of(3).stat().st_size == size
  np.testing.assert_array_equal(read_image(tmp_path / 'a.jpg'), upright[::-1, ::-1])


def test_a_jpeg_is_looked_at_closely_until_it_is_known(tmp_path, rgb):
  path = save(tmp_path / 'a.jpg', rgb)
  data = path.read_bytes()
  at = len(data) // 2
  for _ in range(2):
    path.write_bytes(data[:at] + data[at + 200 :])
    assert 'damaged' in raises_one_sentence(read_image, path)
    path.write_bytes(data)
    for _ in range(2):
      assert read_image(path).shape == rgb.shape


@pytest.mark.parametrize('kind', ['jpg', 'png'])
def test_vast_claims_of_a_header_are_refused_before_decoding(tmp_path, rgb, monkeypatch, kind):
  data = bytearray(save(tmp_path / f'a.{kind}', rgb).read_bytes())
  if kind == 'jpg':
    at = data.index(b'\xff\xc0') + 5
    data[at : at + 4] = struct.pack('>HH', 65500, 3000)
  else:
    data[16:24] = struct.pack('>II', 13000, 13000)
    data[29:33] = struct.pack('>I', zlib.crc32(data[12:29]))
  monkeypatch.setattr(cv2, 'imdecode', lambda *arguments: pytest.fail('decoded'))
  path = tmp_path / f'b.{kind}'
  path.write_bytes(data)
  assert 'damaged' in raises_one_sentence(read_image, path)
  monkeypatch.setenv('PSPNET_JAX_MAX_PIXELS', '4799')
  message = raises_one_sentence(read_image, tmp_path / f'a.{kind}')
  assert '80x60 = 4,800 pixels' in message and 'PSPNET_JAX_MAX_PIXELS' in message


def test_what_is_no_regular_file_is_never_read(tmp_path):
  os.mkfifo(tmp_path / 'a.png')
  (tmp_path / 'b.png').symlink_to('/dev/zero')
  for name in ('a.png', 'b.png'):
    for read in (read_image, read_ids, palette_of):
      assert 'device or a pipe' in raises_one_sentence(read, tmp_path / name)
    assert exif_orientation(tmp_path / name) == 1
  with pytest.raises(UserError, match='cannot be read'):
    read_image('a\0.png')


def test_pictures_of_other_bands_are_refused_by_their_names(tmp_path):
  rgba = np.zeros((3, 4, 4), np.uint8)
  for path, words in (
    (tiff(tmp_path / 'a.tif', rgba.reshape(3, 16), t256=4, t277=4, t262=2), '4 bands of 8-bit'),
    (tiff(tmp_path / 'b.tif', rgba.reshape(3, 16)[:, :12], t256=4, t277=3), '3 bands of 8-bit'),
    (tiff(tmp_path / 'c.tif', np.zeros((3, 16), np.uint8), t256=2, t277=8), '8 bands of 8-bit'),
    (tiff(tmp_path / 'd.tif', np.zeros((3, 4), '<f4')), '32-bit floating-point'),
    (tiff(tmp_path / 'e.tif', np.zeros((3, 4), '<u2')), '16-bit'),
  ):
    message = raises_one_sentence(read_image, path)
    assert words in message and '3 bands of 8 bits' in message


def test_a_bitmap_of_five_bits_a_colour_is_an_image(tmp_path):
  """0x7FFF of 5-5-5 is white."""
  header = struct.pack('<IiiHHIIiiII', 40, 2, 1, 1, 16, 0, 4, 0, 0, 0, 0)
  data = b'BM' + struct.pack('<IHHI', 58, 0, 0, 54) + header + b'\xff\x7f\x00\x00'
  assert read_image('a.bmp', data=data).tolist() == [[[255] * 3, [0] * 3]]


def test_a_deep_jpeg_2000_is_refused(tmp_path):
  deep = Image.new('I;16', (8, 8))
  assert '8 bits' in raises_one_sentence(read_image, save(tmp_path / 'a.jp2', deep))


SEEDS = [
  *(('jpg', 'RGB', {}), ('jpg', 'RGB', {'progressive': True}), ('jpg', 'CMYK', {})),
  *(('png', 'RGB', {}), ('png', 'P', {}), ('png', 'L', {}), ('png', 'LA', {}), ('png', '1', {})),
  *(('bmp', 'RGB', {}), ('bmp', 'P', {}), ('gif', 'P', {}), ('ppm', 'L', {}), ('ppm', 'RGB', {})),
  *(('tif', 'RGB', {}), ('tif', 'L', {'compression': 'tiff_lzw'}), ('tif', 'P', {})),
  *(('tif', 'RGB', {'compression': 'jpeg'}), ('tif', '1', {'compression': 'group4'})),
  *(('webp', 'RGB', {}), ('webp', 'RGBA', {'lossless': True})),
  *(('jp2', 'RGB', {}), ('avif', 'RGB', {})),
]


@functools.cache
def seeds():
  noise = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
  picture = Image.fromarray(noise).resize((40, 30), Image.Resampling.BICUBIC)
  exif = Image.Exif()
  exif[0x0112] = 6
  found = []
  for suffix, mode, options in SEEDS:
    file = io.BytesIO()
    extra = {'exif': exif} if suffix in ('jpg', 'png', 'tif', 'webp') else {}
    Image.registered_extensions()
    kind = Image.EXTENSION[f'.{suffix}']
    picture.convert(mode).save(file, kind, **options, **extra)
    found.append(file.getvalue())
  return found


@fuzz
@given(st.data())
@pytest.mark.filterwarnings('ignore')  # Pillow's, of damaged metadata
def test_files_that_are_nearly_right_end_well(data):
  content = data.draw(mutated(seeds()))
  image = ends_well(functools.partial(read_image, 'a.png', data=content))
  assert image is None or (image.dtype == np.uint8 and image.ndim == 3 and image.size)
  ids = ends_well(functools.partial(read_ids, 'a.png', data=content))
  assert ids is None or ids.dtype in (np.uint8, np.uint16, np.int32)
  colours = ends_well(functools.partial(read_ids, 'a.png', data=content, colours=True))
  assert colours is None or (colours.dtype == np.int32 and colours.min() >= 0)
  ends_well(functools.partial(palette_of, 'a.png', data=content))


COLOURS = np.uint8([[[1, 2, 3], [255, 0, 128]], [[0, 0, 0], [9, 9, 9]], [[255] * 3, [0, 255, 0]]])
PACKED = [[66051, 16711808], [0, 592137], [16777215, 65280]]


def of_palette(order):
  """`COLOURS` as a palette file whose entries stand in this order."""
  flat = COLOURS.reshape(-1, 3)
  image = Image.fromarray(np.uint8([order.index(i) for i in range(6)]).reshape(3, 2))
  image.putpalette(flat[list(order)].ravel().tolist())
  return image


@pytest.mark.parametrize('suffix', ['png', 'bmp', 'tif'])
@pytest.mark.parametrize('kind', ['RGB', 'RGBA', 'palette', 'reordered', 'tRNS'])
def test_colours_are_read_exactly_whichever_way_they_are_stored(tmp_path, kind, suffix):
  image = {'palette': of_palette((0, 1, 2, 3, 4, 5)), 'reordered': of_palette((3, 5, 0, 1, 4, 2))}
  options = {'transparency': (0, 0, 0)} if (kind, suffix) == ('tRNS', 'png') else {}
  picture = image.get(kind, Image.fromarray(COLOURS))
  path = save(tmp_path / f'a.{suffix}', picture, 'RGBA' if kind == 'RGBA' else None, **options)
  found = read_ids(path, colours=True)
  assert found.dtype == np.int32 and found.tolist() == PACKED


def test_grey_files_have_colours_too(tmp_path):
  for mode in ('L', 'LA', '1'):
    path = save(tmp_path / f'{mode}.png', np.uint8([[0, 255]]), mode)
    assert read_ids(path, colours=True).tolist() == [[0, 0xFFFFFF]]
  assert read_ids(grey_png(tmp_path / '2.png', 2, [b'\x1b']), colours=True).tolist() == [
    [0, 0x555555, 0xAAAAAA, 0xFFFFFF]
  ]


def test_colours_that_are_not_exact_are_refused(tmp_path):
  rgba = np.dstack([COLOURS, np.full((3, 2), 254, np.uint8)])
  for path, word in (
    (save(tmp_path / 'a.png', rgba), 'alpha'),
    (save(tmp_path / 'a.tif', rgba), 'alpha'),
    (save(tmp_path / 'la.png', rgba[..., 2:]), 'alpha'),
    (save(tmp_path / 'a.jpg', COLOURS), 'JPEG'),
    (save(tmp_path / '16.png', np.uint16([[256]])), '8 bits'),
    (save(tmp_path / 'cmyk.tif', COLOURS, 'CMYK'), 'RGB'),
    (grey_png(tmp_path / 'few.png', 8, [bytes([0, 5])], colours=range(12)), 'palette'),
  ):
    assert word in raises_one_sentence(lambda path: read_ids(path, colours=True), path)


@pytest.mark.parametrize('suffix', ['png', 'bmp', 'tif', 'gif'])
def test_palettes_are_read_from_headers(tmp_path, suffix):
  order = (3, 5, 0, 1, 4, 2)
  path = save(tmp_path / f'a.{suffix}', of_palette(order))
  wanted = [tuple(colour) for colour in COLOURS.reshape(-1, 3)[list(order)].tolist()]
  assert list(palette_of(path))[:6] == wanted
  assert palette_of(path, data=path.read_bytes()) == palette_of(path)
  assert palette_of(save(tmp_path / 'rgb.png', COLOURS)) is None
  assert palette_of(save(tmp_path / 'grey.png', COLOURS[..., 0])) is None
