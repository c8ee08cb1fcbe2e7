"""Reads published data sets as `pspnet prepare` writes them, in any order.

DATA_DIR/NAME/1.0.0 is a TFDS data set of ArrayRecord files, whose examples hold the encoded image,
the label as a PNG of class ids and 255, and the name. Reading it imports no TensorFlow.
"""

from __future__ import annotations

import bisect
import itertools
from pathlib import Path
from typing import Any

from pspnet_jax.data import known_classes as known
from pspnet_jax.data.decode import exif_orientation
from pspnet_jax.data.image_reader import ImageReader
from pspnet_jax.data.label_ids import label_table, read_label
from pspnet_jax.data.paired_files import sizes_differ
from pspnet_jax.data.remote_sensing import ISAID, ISPRS, LOVEDA
from pspnet_jax.data.spec import Example, Exif, PathText
from pspnet_jax.errors import UserError
from pspnet_jax.runtime import paths

VERSION = '1.0.0'  # version of the format that is written
DATA_DIR = '~/tensorflow_datasets'  # where TFDS keeps everybody's data sets
SPECS = {
  'ade20k': known.ADE20K,
  'camvid': known.CAMVID,
  'cityscapes': known.CITYSCAPES,
  'coco_stuff10k': known.COCO_STUFF,
  'coco_stuff164k': known.COCO_STUFF,
  'coco_voc': known.VOC2012,
  'isaid': ISAID,
  'loveda': LOVEDA,
  'mapillary': known.MAPILLARY,
  'pascal_context': known.PASCAL_CONTEXT,
  'pascal_context_59': known.PASCAL_CONTEXT_59,
  'potsdam': ISPRS,
  'vaihingen': ISPRS,
  'voc2012': known.VOC2012,
}

# Data set -> split -> the prepared splits that hold its examples: no image is stored twice.
SPLITS = {
  'ade20k': {
    'train': ['ade20k/train'],
    'val': ['ade20k/val'],
    'trainval': ['ade20k/train', 'ade20k/val'],
  },
  'camvid': {
    'train': ['camvid/train'],
    'val': ['camvid/val'],
    'test': ['camvid/test'],
    'trainval': ['camvid/train', 'camvid/val'],
  },
  'cityscapes': {
    'train': ['cityscapes/train'],
    'val': ['cityscapes/val'],
    'test': ['cityscapes/test'],  # nothing but ignored pixels: its labels are secret
    'trainval': ['cityscapes/train', 'cityscapes/val'],
    'train_extra': ['cityscapes_coarse/train_extra'],
    'train+train_extra': ['cityscapes/train', 'cityscapes_coarse/train_extra'],
  },
  'coco_stuff10k': {'train': ['coco_stuff10k/train'], 'val': ['coco_stuff10k/val']},
  'coco_stuff164k': {'train': ['coco_stuff164k/train'], 'val': ['coco_stuff164k/val']},
  'coco_voc': {'train': ['coco_voc/train'], 'val': ['coco_voc/val']},
  'isaid': {'train': ['isaid/train'], 'val': ['isaid/val']},
  'loveda': {
    'train': ['loveda/train'],
    'val': ['loveda/val'],
    'test': ['loveda/test'],  # nothing but ignored pixels: its labels are secret
    'trainval': ['loveda/train', 'loveda/val'],
  },
  'mapillary': {'train': ['mapillary/train'], 'val': ['mapillary/val']},
  'pascal_context': {'train': ['pascal_context/train'], 'val': ['pascal_context/val']},
  'pascal_context_59': {'train': ['pascal_context/train'], 'val': ['pascal_context/val']},
  'potsdam': {'train': ['potsdam/train'], 'val': ['potsdam/val']},
  'vaihingen': {'train': ['vaihingen/train'], 'val': ['vaihingen/val']},
  'voc2012': {
    'train': ['voc2012/train'],
    'val': ['voc2012/val'],
    'trainval': ['voc2012/train', 'voc2012/val'],
    'trainaug': ['voc2012/train', 'voc2012/aug'],
  },
}
# What the ids in prepared files mean where they are not simply the classes: the class 0 of Pascal
# Context's 60, the background, is none of the 59.
_TABLES = {'pascal_context_59': label_table(range(1, 60), ignore_ids=(0,))}


def shared(one: tuple[str, str], other: tuple[str, str]) -> list[str]:
  """The prepared splits of which both hold the examples.

  Args:
    one, other: name of a data source and a split of it; nothing is known of others than `SPLITS`.
  """
  parts, others = (SPLITS.get(name, {}).get(split, []) for name, split in (one, other))
  return [part for part in parts if part in others]


class Prepared:
  """A split of a prepared data set; indexing is safe from several threads and processes.

  Args:
    name: which data set; see `SPLITS`.
    split: one of its splits.
    data_dir: where it was prepared.
    exif: whether images are turned as their EXIF data say; see `decode.read_image`.

  Attributes:
    spec: published names and colours of the classes.
    made_from: files that change when the data are prepared anew.

  Raises:
    UserError: for an unknown split, data that are not prepared, or without tensorflow-datasets; on
      indexing, if an example cannot be decoded or its ids are no classes.
  """

  def __init__(
    self,
    name: str,
    split: str = 'train',
    *,
    data_dir: PathText = DATA_DIR,
    exif: Exif = 'upright',
  ):
    if split not in SPLITS[name]:
      raise UserError(f'{name} has no split {split!r}: known are {", ".join(SPLITS[name])}.')
    self.spec, self.exif = SPECS[name], exif
    self._read_image = ImageReader(exif)
    self._table = _TABLES.get(name, label_table(range(self.spec.num_classes)))
    parts = [part.split('/') for part in SPLITS[name][split]]
    self._folders = [_folder(data_dir, prepared) for prepared, _ in parts]
    self._parts = [
      _open(folder, stored) for folder, (_, stored) in zip(self._folders, parts, strict=True)
    ]
    self.made_from = [folder / 'dataset_info.json' for folder in self._folders]
    self._ends = list(itertools.accumulate(len(part) for part in self._parts))

  def __len__(self) -> int:
    return self._ends[-1]

  def __getitem__(self, index: int) -> Example:
    if not 0 <= index < len(self):
      raise IndexError(f'{index=} of {len(self)} examples')
    i = bisect.bisect_right(self._ends, index)
    stored = self._parts[i][index - self._ends[i] + len(self._parts[i])]
    name = stored['name'].decode()
    where = self._folders[i] / name  # a name for messages: there is no such file
    image = self._read_image(f'{where} (image)', data=stored['image'])
    label = read_label(f'{where} (label)', self._table, data=stored['label'])
    if image.shape[:2] != label.shape:
      turned = exif_orientation(where, data=stored['image'])
      raise sizes_differ(where / 'image', image.shape, where / 'label', label.shape, turned)
    return {'image': image, 'label': label, 'name': name}


def _folder(data_dir: str, prepared: str) -> Path:
  folder = paths.given(data_dir) / prepared / VERSION
  if not (folder / 'dataset_info.json').is_file():
    raise UserError(
      f'{folder} holds no prepared data: run pspnet prepare --dataset={prepared} '
      f'--data_dir={data_dir}, or set data_dir to where that was done.'
    )
  return folder


def _open(folder: Path, split: str) -> Any:
  """Opens the examples as they are stored, dicts of bytes, for random access."""
  try:
    import tensorflow_datasets as tfds
  except ImportError as e:
    raise UserError(
      f"reading {folder} needs tensorflow-datasets: pip install 'pspnet_jax[tfds]'."
    ) from e
  builder = tfds.builder_from_directory(folder)
  for path in builder.info.splits[split].filepaths:
    if not path.exists():
      raise UserError(f'{path} is missing: remove {folder} and prepare the data set again.')
  raw = {'image': tfds.decode.SkipDecoding(), 'label': tfds.decode.SkipDecoding()}
  return builder.as_data_source(split, decoders=raw)
