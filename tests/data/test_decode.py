import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from pspnet_jax.data.decode import exif_orientation, label_table, read_image, read_label
from pspnet_jax.data.spec import IGNORE_LABEL
from pspnet_jax.errors import UserError

CAMVID = Path(__file__).parents[3] / 'shared' / 'camvid'
TABLE = label_table(range(5), ignore_ids=(7,))


@pytest.fixture
def rgb():
  """A colourful image, wider than high, smooth enough to survive JPEG."""
  noise = np.random.default_rng(0).uniform(0, 255, (6, 8, 3)).astype(np.uint8)
  return np.asarray(Image.fromarray(noise).resize((80, 60), Image.Resampling.BICUBIC))


@pytest.fixture
def ids():
  return np.random.default_rng(0).integers(0, 5, (60, 80)).astype(np.uint8)


def save(path, array, mode=None, **options):
  image = array if isinstance(array, Image.Image) else Image.fromarray(array)
  (image.convert(mode) if mode else image).save(path, **options)
  return path


def grey_png(path, depth, rows):
  """A grey PNG of under 8 bits, which Pillow does not write. rows: the packed bytes of each."""

  def chunk(kind, data):
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

  header = struct.pack('>IIBBBBB', 8 * len(rows[0]) // depth, len(rows), depth, 0, 0, 0, 0)
  data = zlib.compress(b''.join(b'\0' + row for row in rows))
  path.write_bytes(
    b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', data) + chunk(b'IEND', b'')
  )
  return path


def raises_one_sentence(function, *arguments):
  """The message, which must name the file and be one sentence."""
  with pytest.raises(UserError) as caught:
    function(*arguments)
  message = str(caught.value)
  assert str(arguments[0]) in message
  assert message.endswith('.')
  assert '. ' not in message
  return message


# images


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
def test_exif_orientation_is_ignored_unless_asked_for(tmp_path, rgb, name):
  exif = Image.Exif()
  exif[0x0112] = 6
  path = save(tmp_path / name, rgb, exif=exif)
  plain = read_image(save(tmp_path / f'plain_{name}', rgb))
  assert exif_orientation(path) == 6
  np.testing.assert_array_equal(read_image(path), plain)
  np.testing.assert_array_equal(read_image(path, exif_orientation=True), np.rot90(plain, -1))


# labels


def palette(ids, colours=256):
  image = Image.fromarray(ids)
  image.putpalette([value for i in range(colours) for value in (255 - i, i, 99)])
  return image


def test_grey_palette_and_sixteen_bit_labels_hold_ids(tmp_path, ids):
  for name, array, options in (
    ('grey.png', ids, {}),
    ('palette.png', palette(ids), {}),
    ('palette4.png', palette(ids), {'bits': 4}),
    ('sixteen.png', ids.astype(np.uint16), {}),
    ('thirtytwo.tif', ids.astype(np.int32), {}),
    ('grey.bmp', ids, {}),
  ):
    found = read_label(save(tmp_path / name, array, **options), TABLE)
    np.testing.assert_array_equal(found, ids, err_msg=name)
    assert found.dtype == np.uint8


def test_sixteen_bit_ids_are_read_exactly(tmp_path):
  path = save(tmp_path / 'a.png', np.array([[1000, 1001, 65535, 255]], np.uint16))
  found = read_label(path, label_table([1000, 1001], ignore_ids=(65535,)))
  assert found.tolist() == [[0, 1, IGNORE_LABEL, IGNORE_LABEL]]


def test_labels_of_less_than_eight_bits(tmp_path):
  table = label_table(range(16))
  assert read_label(grey_png(tmp_path / '1.png', 1, [b'\x1b']), table).tolist() == [
    [0, 0, 0, 1, 1, 0, 1, 1]
  ]
  assert read_label(grey_png(tmp_path / '2.png', 2, [b'\x1b']), table).tolist() == [[0, 1, 2, 3]]
  assert read_label(grey_png(tmp_path / '4.png', 4, [b'\x0f\x9a']), table).tolist() == [
    [0, 15, 9, 10]
  ]


def test_ignored_ids_become_255(tmp_path):
  path = save(tmp_path / 'a.png', np.uint8([[0, 7, 255, 4]]))
  assert read_label(path, TABLE).tolist() == [[0, IGNORE_LABEL, IGNORE_LABEL, 4]]


def test_ids_may_start_elsewhere_or_be_scattered(tmp_path):
  path = save(tmp_path / 'a.png', np.uint8([[0, 1, 3, 255]]))
  assert read_label(path, label_table((1, 2, 3), ignore_ids=(0,))).tolist() == [[255, 0, 2, 255]]
  path = save(tmp_path / 'a.png', np.uint8([[0, 255]]))
  assert read_label(path, label_table((0, 255))).tolist() == [[0, 1]]


@pytest.mark.parametrize(
  'mode, hint',
  [('RGB', 'three channels are equal'), ('RGBA', 'three channels'), ('LA', 'one id a pixel')],
)
def test_labels_with_channels_are_refused(tmp_path, ids, mode, hint):
  assert hint in raises_one_sentence(read_label, save(tmp_path / 'a.png', ids, mode), TABLE)


def test_colour_labels_are_refused_with_the_remedy(tmp_path, ids):
  message = raises_one_sentence(read_label, save(tmp_path / 'a.png', palette(ids), 'RGB'), TABLE)
  assert 'convert each colour to its class id' in message


def test_lossy_and_float_labels_are_refused(tmp_path, ids):
  assert 'JPEG' in raises_one_sentence(read_label, save(tmp_path / 'a.jpg', ids), TABLE)
  assert 'float' in raises_one_sentence(
    read_label, save(tmp_path / 'a.tif', ids.astype(np.float32)), TABLE
  )


def test_truncated_empty_and_missing_labels(tmp_path, ids):
  data = save(tmp_path / 'a.png', ids).read_bytes()
  (tmp_path / 'b.png').write_bytes(data[: len(data) // 2])
  (tmp_path / 'c.png').write_bytes(b'')
  for name in ('b.png', 'c.png', 'd.png'):
    raises_one_sentence(read_label, tmp_path / name, TABLE)


@pytest.mark.parametrize('name', ['grey.png', 'palette.png', 'sixteen.png'])
def test_no_damage_to_a_label_goes_unnoticed(tmp_path, ids, name):
  """Cut anywhere, or with a byte changed, it is refused; Pillow lets six such changes pass."""
  pixels = {'palette.png': palette(ids), 'sixteen.png': ids.astype(np.uint16)}.get(name, ids)
  data, path = save(tmp_path / name, pixels).read_bytes(), tmp_path / 'b.png'
  for at in [*range(8, len(data), 29), *range(len(data) - 30, len(data))]:
    for content in (data[:at], data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]):
      path.write_bytes(content)
      raises_one_sentence(read_label, path, TABLE)


def test_a_grey_label_whose_pixels_are_too_few_is_refused(tmp_path):
  whole = grey_png(tmp_path / 'whole.png', 8, [bytes(8)] * 8)
  assert read_label(whole, TABLE).shape == (8, 8)
  part = grey_png(tmp_path / 'part.png', 8, [bytes(8)] * 5)  # and right in every checksum
  data, header = bytearray(part.read_bytes()), struct.pack('>II', 8, 8)
  data[16:24] = header
  data[29:33] = struct.pack('>I', zlib.crc32(data[12:29]))
  part.write_bytes(data)
  raises_one_sentence(read_label, part, TABLE)


def test_ids_254_and_255_may_be_classes(tmp_path):
  path = save(tmp_path / 'a.png', np.uint8([[0, 253, 254, 255]]))
  assert read_label(path, label_table(range(255))).tolist() == [[0, 253, 254, 255]]
  shifted = label_table(range(1, 256))
  assert 'id 0' in raises_one_sentence(read_label, path, shifted)
  path = save(tmp_path / 'b.png', np.uint8([[1, 254, 255]]))
  assert read_label(path, shifted).tolist() == [[0, 253, 254]]
  assert 'id 254' in raises_one_sentence(read_label, path, label_table(range(200)))


@pytest.mark.parametrize(
  'pixels, table, hints',
  [
    ([0, 1, 9, 9, 12], TABLE, ['3 of 5 pixels', 'id 9, 12', '0-4', '7, 255']),
    ([1, 2, 3, 4, 5], TABLE, ['id 5', 'count from 1', 'label_offset=1']),
    ([0, 1, 3, 5], TABLE, ['label_offset=1 and ignore_ids=(0,)', 'ignore_ids=(5,)']),
    ([0, 1, 3], label_table((1, 2, 3)), ['id 0', 'ignore_ids=(0,)']),
    ([0, 0, 128], label_table((0, 1)), ['binary', 'label_ids=(0, 128)']),
    ([0, 9], label_table((0, 9, 7)), []),
    (list(range(100, 120)), TABLE, ['20 of 20', ', ...']),
  ],
)
def test_illegal_ids_are_named_with_the_likely_cause(tmp_path, pixels, table, hints):
  path = save(tmp_path / 'a.png', np.uint8([pixels]))
  if not hints:
    assert read_label(path, table).shape == (1, len(pixels))
    return
  message = raises_one_sentence(read_label, path, table)
  for hint in hints:
    assert hint in message


@pytest.mark.parametrize('offset', [-3, 70000])
def test_ids_beyond_sixteen_bits_do_not_wrap(tmp_path, ids, offset):
  path = save(tmp_path / 'a.tif', ids.astype(np.int32) + offset)
  assert str(offset) in raises_one_sentence(read_label, path, TABLE)


@pytest.mark.parametrize(
  'class_ids, ignore_ids, named',
  [
    ((0, 1, 1), (), 'id 1'),
    ((0, 1), (1,), 'id 1'),
    ((0, 70000), (), '70000'),
    (range(256), (), '256'),
  ],
)
def test_contradictory_tables_are_refused(class_ids, ignore_ids, named):
  with pytest.raises(UserError, match=named):
    label_table(class_ids, ignore_ids)


@pytest.mark.skipif(not CAMVID.is_dir(), reason='CamVid is not at ../shared/camvid')
def test_real_labels():
  table = label_table(range(11), ignore_ids=(11,))
  for path in sorted(CAMVID.glob('labels/val/*.png'))[::20]:
    raw = np.asarray(Image.open(path))
    np.testing.assert_array_equal(read_label(path, table), np.where(raw == 11, IGNORE_LABEL, raw))
