import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from pspnet_jax.data.decode import exif_orientation, palette_of, read_ids, read_image
from tests.data.image_files import grey_png, raises_one_sentence, save


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


@pytest.mark.parametrize('name', ['a.jpg', 'a.png'])
def test_images_are_turned_upright_unless_asked_for_as_stored(tmp_path, rgb, name):
  exif = Image.Exif()
  exif[0x0112] = 6
  path = save(tmp_path / name, rgb, exif=exif)
  plain = read_image(save(tmp_path / f'plain_{name}', rgb))
  assert exif_orientation(path) == 6
  np.testing.assert_array_equal(read_image(path, exif='stored'), plain)
  np.testing.assert_array_equal(read_image(path), np.rot90(plain, -1))


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
