"""iSAID: overlapping tiles of DOTA's images, filled up where an image is smaller than a tile."""

import numpy as np
import pytest

pytest.importorskip('tensorflow_datasets', reason='needs the extra tfds')

from pspnet_jax.errors import UserError
from pspnet_jax.prepare import prepare
from tests.data.builders import aerial

# Image -> size, and where its tiles begin, as (top, left).
TRAIN = {
  'P0000': ((1000, 1409), [(0, 0), (0, 512), (0, 513), (104, 0), (104, 512), (104, 513)]),
  'P0001': ((300, 900), [(0, 0), (0, 4)]),
  'P0005': ((100, 200), [(0, 0)]),
}
VAL = {'P0003': ((897, 400), [(0, 0), (1, 0)])}
PARTS = {'part1': ['P0005'], 'part2': ['P0000'], 'part3': ['P0001']}


@pytest.fixture(autouse=True)
def accepted(monkeypatch):
  aerial.accept(monkeypatch, 'isaid', {'train': 3, 'val': 1}, {'train': 9, 'val': 2})


def write(folder, parts=PARTS, change=lambda name, label: label, sizes=None):
  sizes = {name: size for name, (size, _) in (TRAIN | VAL).items()} | (sizes or {})
  for split, of_split in (('train', parts), ('val', {'part1': ['P0003']})):
    labels = []
    for part, names in of_split.items():
      images = [
        (f'images/{name}.png', aerial.encoded(image(name, sizes[name]), 'PNG')) for name in names
      ]
      aerial.write_zip(folder / split / 'images' / f'{part}.zip', images)
    for name in TRAIN if split == 'train' else VAL:
      label = change(name, aerial.drawn(name, sizes[name], aerial.ISAID))
      data = aerial.encoded(label, 'PNG')
      labels.append((f'images/{name}_instance_color_RGB.png', data))
    aerial.write_zip(folder / split / 'Semantic_masks' / 'images.zip', labels)


def image(name, size):
  pixels = aerial.picture(name, size)
  return pixels[..., 0] if name == 'P0005' else pixels  # some of DOTA's are grey


@pytest.mark.parametrize(('split', 'images'), [('train', TRAIN), ('val', VAL)])
def test_tiles_are_the_pixels_of_the_images_and_what_is_beyond(tmp_path, split, images):
  write(tmp_path)
  examples = aerial.prepared('isaid', split, tmp_path)
  names = [
    f'{name}_{top}_{top + 896}_{left}_{left + 896}'
    for name, (_, tiles) in images.items()
    for top, left in tiles
  ]
  assert list(examples) == names
  for name, (size, tiles) in images.items():
    pixels = np.zeros((max(size[0], 896), max(size[1], 896), 3), np.uint8)
    pixels[: size[0], : size[1]] = image(name, size).reshape(*size, -1)
    label = np.full(pixels.shape[:2], 255, np.uint8)
    own = aerial.decoded(aerial.drawn(name, size, aerial.ISAID), aerial.ISAID)
    label[: size[0], : size[1]] = own
    for top, left in tiles:
      example = examples[f'{name}_{top}_{top + 896}_{left}_{left + 896}']
      part = slice(top, top + 896), slice(left, left + 896)
      np.testing.assert_array_equal(example['label'], label[part])
      np.testing.assert_array_equal(example['image'], pixels[part])


def other_colour(name, label):
  if name == 'P0000':
    label[5, 7] = 0, 63, 64
  return label


def turned(name, label):
  return label.transpose(1, 0, 2) if name == 'P0000' else label


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (other_colour, r'P0000_instance_color_RGB\.png has 1 of .* pixels .*0, 63, 64'),
    (turned, r'P0000\.png is 1409x1000 but its label is 1000x1409'),
  ],
)
def test_what_is_wrong_with_a_label_is_named(tmp_path, change, message):
  write(tmp_path, change=change)
  with pytest.raises(UserError, match=message):
    prepare('isaid', tmp_path / 'data', tmp_path)


def test_parts_that_lack_or_repeat_an_image_are_refused(tmp_path):
  write(tmp_path, parts={**PARTS, 'part3': ['P0000', 'P0001']})
  with pytest.raises(UserError, match=r'part2\.zip/images/P0000\.png is in .*part3\.zip too'):
    prepare('isaid', tmp_path / 'data', tmp_path)
  write(tmp_path, parts={**PARTS, 'part3': []})
  message = r'Semantic_masks/images\.zip/images/P0001_instance_color_RGB\.png has no image'
  with pytest.raises(UserError, match=message):
    prepare('isaid', tmp_path / 'data', tmp_path)


@pytest.mark.parametrize(
  'file', ['train/images/part3.zip', 'val/Semantic_masks/images.zip', 'val/images/part1.zip']
)
def test_a_missing_or_damaged_archive_is_named(tmp_path, file):
  write(tmp_path)
  path = tmp_path / file
  path.write_bytes(path.read_bytes()[:100])
  with pytest.raises(UserError, match=rf'{file} is damaged, cut short .*download it again'):
    prepare('isaid', tmp_path / 'data', tmp_path)
  path.unlink()
  where = rf'https://captain-whu.*by hand, and put it into {path.parent}\.'
  with pytest.raises(UserError, match=rf'{file} .* is missing: download it from {where}'):
    prepare('isaid', tmp_path / 'data', tmp_path)


def test_a_strip_that_would_be_filled_up_beyond_the_limit_is_refused(tmp_path, monkeypatch):
  monkeypatch.setenv('PSPNET_JAX_MAX_PIXELS', '2000000')
  write(tmp_path, sizes={'P0000': (2, 3000)})
  with pytest.raises(UserError, match=r'P0000\.png has 3000x896 = .* limit'):
    prepare('isaid', tmp_path / 'data', tmp_path)
