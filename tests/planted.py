"""Faults to plant in a copy of a sound folder data set, each with what the doctor calls it."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
from PIL import Image


def write_folder(root: Path, train: int = 12, val: int = 6, size=(48, 40)) -> None:
  """A sound data set of four classes with 4 = no class; size is width and height."""
  rng = np.random.default_rng(0)
  for split, count in (('train', train), ('val', val)):
    for kind in ('images', 'labels'):
      (root / kind / split).mkdir(parents=True)
    for i in range(count):
      name = f'{split}{i:02d}'
      # Stripes that grow narrower, so that a label turned round does not fit.
      label = np.arange(size[0])[None] ** 2 * 4 // size[0] ** 2 + np.zeros((size[1], 1), int)
      image = rng.integers(0, 60, (size[1], size[0], 3)) + 60 * label[..., None]
      Image.fromarray(image.astype(np.uint8)).save(root / 'images' / split / f'{name}.jpg')
      label[:3] = 4
      Image.fromarray(label.astype(np.uint8)).save(root / 'labels' / split / f'{name}.png')
  (root / 'classes.txt').write_text('sky\nroad\ncar\ntree\nignore: 4\n')


class Victims:
  """Hands out examples that nothing was done to yet."""

  def __init__(self, root: Path):
    self._images = {
      split: sorted((root / 'images' / split).iterdir()) for split in ('train', 'val')
    }

  def paths(self, split: str = 'train') -> tuple[Path, Path]:
    image = self._images[split].pop(0)
    return image, image.parents[2] / 'labels' / split / f'{image.stem}.png'


def _ids(path: Path) -> np.ndarray:
  with Image.open(path) as image:
    return np.asarray(image)


def image_without_label(victims):
  image, _ = victims.paths()
  shutil.copy(image, image.with_name('planted_image.jpg'))
  return 'planted_image'


def label_without_image(victims):
  _, label = victims.paths()
  shutil.copy(label, label.with_name('planted_label.png'))
  return 'planted_label'


def two_files_of_one_name(victims):
  image, _ = victims.paths()
  Image.fromarray(_ids(image)).save(image.with_suffix('.bmp'))
  return image.stem


def truncated_jpeg(victims):
  image, _ = victims.paths()
  image.write_bytes(image.read_bytes()[: image.stat().st_size * 9 // 10])
  return image.stem


def truncated_label(victims):
  _, label = victims.paths('val')
  label.write_bytes(label.read_bytes()[:-40])
  return label.stem


def empty_file(victims):
  image, _ = victims.paths()
  image.write_bytes(b'')
  return image.stem


def no_image(victims):
  image, _ = victims.paths()
  image.write_text('<html>404</html>')
  return image.stem


def other_size(victims):
  _, label = victims.paths()
  Image.fromarray(_ids(label)[:-2]).save(label)
  return label.stem


def illegal_id(victims):
  _, label = victims.paths()
  ids = _ids(label).copy()
  ids[0, :5] = 77
  Image.fromarray(ids).save(label)
  return label.stem


def off_by_one(victims):
  _, label = victims.paths('val')
  Image.fromarray(_ids(label) + 1).save(label)
  return label.stem


def binary_mask(victims):
  _, label = victims.paths()
  Image.fromarray(np.where(_ids(label) == 0, 0, 255).astype(np.uint8)).save(label)
  return label.stem


def colour_mask(victims):
  _, label = victims.paths()
  Image.fromarray(np.stack([_ids(label) * 9, _ids(label), _ids(label)], -1)).save(label)
  return label.stem


def lossy_mask(victims):
  _, label = victims.paths()
  Image.fromarray(_ids(label)).save(label, format='JPEG')
  return label.stem


def deep_mask(victims):
  _, label = victims.paths()
  Image.fromarray(_ids(label).astype(np.uint16) * 1000 + 7).save(label)
  return label.stem


def all_ignored(victims):
  _, label = victims.paths('val')
  Image.fromarray(np.full_like(_ids(label), 255)).save(label)
  return label.stem


def constant_image(victims):
  image, _ = victims.paths()
  Image.new('RGB', _ids(image).shape[1::-1], (9, 9, 9)).save(image)
  return image.stem


def across_splits(victims):
  image, label = victims.paths()
  for path in (image, label):
    target = path.parent.with_name('val') / f'planted_copy{path.suffix}'
    shutil.copy(path, target)
  return image.stem


def within_a_split(victims):
  image, label = victims.paths('val')
  for path in (image, label):
    shutil.copy(path, path.with_name(f'planted_again{path.suffix}'))
  return image.stem


def deep_image(victims):
  image, _ = victims.paths()
  pixels = _ids(image)[..., 0].astype(np.uint16) * 200
  image.unlink()
  Image.fromarray(pixels).save(image.with_suffix('.png'))
  return image.stem


def turned_label(victims):
  image, label = victims.paths()
  exif = Image.Exif()
  exif[0x0112] = 3  # held upside down; the label was drawn on what is stored
  Image.fromarray(_ids(image)[::-1, ::-1]).save(image, exif=exif, quality=95)
  Image.fromarray(_ids(label)[::-1, ::-1].copy()).save(label)
  return image.stem


def turned_image(victims):
  image, label = victims.paths()
  exif = Image.Exif()
  exif[0x0112] = 3
  Image.fromarray(_ids(image)[::-1, ::-1]).save(image, exif=exif)
  ids = np.zeros_like(_ids(label))  # without borders: nothing tells which way up it is
  Image.fromarray(ids).save(label)
  return image.stem


def _with_palette(path, colours):
  image = Image.fromarray(_ids(path))
  image.putpalette([value for colour in colours for value in colour])
  image.save(path)


def sorted_palette(victims):
  red_first = [(0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255), (9, 9, 9)]
  for _ in range(2):
    _with_palette(victims.paths()[1], red_first)
  _, label = victims.paths()
  _with_palette(label, red_first[:1] + red_first[3:0:-1] + red_first[4:])
  return label.stem


def jpeg_in_tiff(victims):
  _, label = victims.paths()
  ids = _ids(label)
  label.unlink()
  Image.fromarray(ids).save(label.with_suffix('.tif'), compression='jpeg')
  return label.stem


def lossy_webp(victims):
  _, label = victims.paths()
  ids = _ids(label)
  label.unlink()
  Image.fromarray(ids).convert('RGB').save(label.with_suffix('.webp'))
  return label.stem


def stack(victims):
  _, label = victims.paths()
  pages = [Image.fromarray(_ids(label))] * 3
  label.unlink()
  pages[0].save(label.with_suffix('.tif'), save_all=True, append_images=pages[1:])
  return label.stem


def smoothed_mask(victims):
  _, label = victims.paths()
  ids = cv2.GaussianBlur(np.where(_ids(label) < 2, 0, 255).astype(np.uint8), (0, 0), 1)
  Image.fromarray(ids).save(label)
  return label.stem


def damaged_scan(victims):
  image, _ = victims.paths()
  data = image.read_bytes()
  scan = data.index(b'\xff\xda')
  image.write_bytes(data[: (scan + len(data)) // 2] + b'\xff\xd9')  # half of it, and the end
  return image.stem


def deep_bands(victims):
  image, _ = victims.paths()
  grey = _ids(image)[..., 0].astype(np.float32)
  image.unlink()
  Image.fromarray(grey).save(image.with_suffix('.tif'))
  return image.stem


PLANTED = {  # plant: kind of finding
  image_without_label: 'image without label',
  label_without_image: 'label without image',
  two_files_of_one_name: 'two files of one name',
  truncated_jpeg: 'damaged file',
  truncated_label: 'damaged file',
  empty_file: 'empty file',
  no_image: 'not an image',
  other_size: 'sizes differ',
  illegal_id: 'illegal ids',
  off_by_one: 'ids count from 1',
  binary_mask: 'masks of 0 and 255',
  colour_mask: 'colour label',
  lossy_mask: 'lossy label',
  deep_mask: 'ids above 255',
  all_ignored: 'nothing labelled',
  constant_image: 'constant image',
  across_splits: 'duplicate across splits',
  within_a_split: 'duplicate',
  deep_image: 'deep image',
  turned_label: 'label on the other frame',
  turned_image: 'turned image',
  sorted_palette: 'palettes differ',
  jpeg_in_tiff: 'lossy label',
  lossy_webp: 'lossy label',
  stack: 'several pages',
  damaged_scan: 'damaged file',
  smoothed_mask: 'smoothed label',
  deep_bands: 'deep image',
}
