import itertools
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pspnet_jax.data import known_classes
from pspnet_jax.data.augment import Augment
from pspnet_jax.data.folder import Folder
from pspnet_jax.data.label_ids import colour_label, colour_table, label_table, read_label
from pspnet_jax.data.loader import train_batches
from pspnet_jax.data.spec import IGNORE_LABEL
from pspnet_jax.errors import BadData, UserError
from tests.data.image_files import grey_png, palette, raises_one_sentence, save

CAMVID = Path(__file__).parents[3] / 'shared' / 'camvid'
TABLE = label_table(range(5), ignore_ids=(7,))


@pytest.fixture
def ids():
  return np.random.default_rng(0).integers(0, 5, (60, 80)).astype(np.uint8)


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


def test_several_ids_of_a_class_and_colours(tmp_path):
  path = save(tmp_path / 'a.png', np.uint8([[7, 8, 11, 255]]))
  assert read_label(path, label_table((7, (8, 11)))).tolist() == [[0, 1, 1, IGNORE_LABEL]]
  table = colour_table([[(1, 2, 3)], [(0, 0, 0), (255, 255, 255)]], ignored=[(9, 9, 9)])
  colours = np.uint8([[(1, 2, 3), (0, 0, 0), (255, 255, 255), (9, 9, 9)]])
  for mode in ('RGB', 'RGBA', 'P'):
    image = Image.fromarray(colours)
    path = save(tmp_path / 'a.png', image.quantize(4) if mode == 'P' else image.convert(mode))
    assert read_label(path, table).tolist() == [[0, 1, 1, IGNORE_LABEL]]
  path = save(tmp_path / 'grey.png', np.uint8([[0, 255, 9]]))
  assert read_label(path, table).tolist() == [[1, 1, IGNORE_LABEL]]
  path = save(tmp_path / 'b.png', np.uint8([[(0, 0, 255)]]))
  assert 'unknown colour (0, 0, 255)' in raises_one_sentence(read_label, path, table)


def test_a_colour_image_where_ids_are_wanted_is_told_from_a_table_of_its_colours(tmp_path):
  palette = ((1, 2, 3), (4, 5, 6))
  error = BadData('colour label', 'as before.')

  def says(pixels):
    return str(colour_label(save(tmp_path / 'a.png', np.uint8([pixels])), error, palette))

  assert 'all of its pixels' in says([(1, 2, 3), (4, 5, 6)])
  assert '--config.data.labels=colours' in says([(1, 2, 3)])
  assert '50% of its pixels' in says([(1, 2, 3), (9, 8, 7)])
  assert says([(1, 1, 1), (2, 2, 2)]) == 'as before.'  # one channel of three is a label
  other = BadData('damaged file', 'as before.')
  assert colour_label(tmp_path / 'a.png', other, palette) is other


def test_ids_may_start_elsewhere_or_be_scattered(tmp_path):
  path = save(tmp_path / 'a.png', np.uint8([[0, 1, 3, 255]]))
  assert read_label(path, label_table((1, 2, 3), ignore_ids=(0,))).tolist() == [[255, 0, 2, 255]]
  path = save(tmp_path / 'a.png', np.uint8([[0, 255]]))
  assert read_label(path, label_table((0, 255))).tolist() == [[0, 1]]


@pytest.mark.parametrize(
  'mode, hint',
  [('RGB', 'three channels are equal'), ('RGBA', 'three channels')],
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


@pytest.mark.skipif(not CAMVID.is_dir(), reason='CamVid is not at ../shared/camvid')
def test_real_scenes_in_colours_give_the_same_batches_bit_for_bit(tmp_path):
  for kind in ('images', 'labels', 'colours'):
    (tmp_path / kind).mkdir()
  colours = np.uint8([*known_classes.CAMVID.palette, (0, 0, 0)])  # 11 is unlabelled
  for i, path in enumerate(sorted(CAMVID.glob('labels/val/*.png'))[::20]):
    shutil.copy(path, tmp_path / 'labels')
    shutil.copy(CAMVID / 'images' / 'val' / f'{path.stem}.jpg', tmp_path / 'images')
    mask = Image.fromarray(colours[np.asarray(Image.open(path))])
    mask = mask.quantize(12) if i % 2 else mask  # in a palette, whose order is any
    mask.save(tmp_path / 'colours' / path.name)
  (tmp_path / 'list.txt').write_text(
    ''.join(f'images/{p.stem}.jpg colours/{p.name}\n' for p in (tmp_path / 'colours').iterdir())
  )
  table = zip(known_classes.CAMVID.class_names, known_classes.CAMVID.palette, strict=True)
  rows = ''.join(f'{name}:{r},{g},{b}::\n' for name, (r, g, b) in table)
  (tmp_path / 'labelmap.txt').write_text(f'{rows}labels: colours\nignore: 0 0 0\n')
  by_id = Folder(str(tmp_path), '', class_names=known_classes.CAMVID.class_names, ignore_ids=(11,))
  by_colour = Folder(str(tmp_path), list_file='list.txt', classes='labelmap.txt')
  by_colour.pairs.sort()
  options = {'transform': Augment((97, 113)), 'batch_size': 4, 'seed': 3, 'threads': 1}
  streams = [train_batches(source, **options) for source in (by_id, by_colour)]
  for ids, colours in itertools.islice(zip(*streams, strict=True), 3):
    assert ids['label'].max() == IGNORE_LABEL and len(np.unique(ids['label'])) > 5
    for key in ('image', 'label'):
      np.testing.assert_array_equal(ids[key], colours[key])
