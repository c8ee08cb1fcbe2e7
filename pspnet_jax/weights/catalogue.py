"""Finds published weights by name; catalogue.csv beside this file has a row for each."""

from __future__ import annotations

import csv
import dataclasses
import functools
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from pspnet_jax.errors import UserError, nearest

# Data set -> how its authors call it, and the number of classes.
DATASETS = {
  'cityscapes': ('Cityscapes', 19),
  'ade20k': ('ADE20K', 150),
  'voc2012': ('Pascal VOC 2012', 21),
  'voc2012_test': ('Pascal VOC 2012 test', 21),
  'coco_voc': ('COCO, classes of VOC', 21),
  'pascal_context': ('Pascal Context', 60),
  'pascal_context_59': ('Pascal Context 59', 59),
  'coco_stuff10k': ('COCO-Stuff 10k', 171),
  'coco_stuff164k': ('COCO-Stuff 164k', 171),
  'loveda': ('LoveDA', 7),
  'potsdam': ('ISPRS Potsdam', 6),
  'vaihingen': ('ISPRS Vaihingen', 6),
  'isaid': ('iSAID', 16),
  'imagenet': ('ImageNet', 1000),
}
_PADDLESEG = (
  'https://github.com/PaddlePaddle/PaddleSeg/blob/d7975e7cb3b9102eae4eabcef5afb81b878473aa'
)
# Source -> where its scores are published. Without an address of its own, an entry's file lies in
# a shared folder to which this page leads.
PAGES = {
  'mmseg': 'https://github.com/open-mmlab/mmsegmentation/blob/v1.2.2/configs/pspnet/metafile.yaml',
  'semseg': 'https://github.com/hszhao/semseg',
  'caffe': 'https://github.com/hszhao/PSPNet',
  'paddleseg': f'{_PADDLESEG}/configs/pspnet/README.md',
  'paddle_rs': f'{_PADDLESEG}/contrib/RSSegBenchmark/README.md',
  'gluoncv': 'https://github.com/dmlc/gluon-cv/blob/567775619f3b97d47e7c360748912a4fd883ff52'
  '/docs/model_zoo/segmentation_mxnet.rst',
  'sssegmentation': 'https://github.com/SegmentationBLWX/sssegmentation/blob'
  '/eb1878c112402e86a92ee6958778272065bf59b9/docs/modelzoo/pspnet/README.md',
  'openmmlab': 'https://github.com/open-mmlab/mmcv',
  'torchvision': 'https://docs.pytorch.org/vision/stable/models.html',
  'timm': 'https://github.com/huggingface/pytorch-image-models/blob/main/results',
}
# How addresses end of which the last part is no name of a file's own, or which lead to an archive,
# and how the file itself ends.
_WITHIN = {'/model.pdparams': '.pdparams', '.tar.gz': '.pdparams', '.zip': '.params'}


@dataclasses.dataclass(frozen=True)
class Entry:
  """A published file, and what neither its names nor its shapes tell.

  Args:
    name: that of its source: a config of mmsegmentation (v1) or PaddleSeg, a model of timm, ...; or
      one of our making.
    source: a key of `PAGES`.
    data: a key of `DATASETS`: what it was trained and scored on; 'imagenet' for a backbone.
    depth, stem_channels, avg_down, output_stride, align_corners: see `models.pspnet.PSPNet`.
    crop_size: height and width in training.
    window, stride: size and distance of the windows that are evaluated, in pixels; no window is
      the whole image.
    test_scale: long and short side of the box that an image is scaled to fit into.
    score: mIoU in percent at a single scale, or a backbone's top-1 accuracy.
    score_ms: mIoU over several scales and mirror images.
    megabytes: where its publisher says so.
    sha256: the checksum's first digits, which these files have in their names; '' where none is
      published.
    sha1: the whole checksum, of what lies in the archive, where that one is published.
    address: None if there is none that stays.
  """

  name: str
  source: str
  data: str
  depth: int
  stem_channels: tuple[int, ...]
  avg_down: bool
  output_stride: int
  align_corners: bool
  crop_size: tuple[int, int] | None
  window: tuple[int, int] | None
  stride: int | None
  test_scale: tuple[int, int] | None
  score: float | None
  score_ms: float | None
  megabytes: int | None
  sha256: str
  sha1: str
  address: str | None

  @property
  def is_backbone(self) -> bool:
    return self.data == 'imagenet'

  @property
  def digest(self) -> str:
    """What its publisher says of the file's content, as `download.fetch` takes it; or nothing."""
    return f'sha1:{self.sha1}' if self.sha1 else self.sha256

  @property
  def is_archive(self) -> bool:
    """Whether the address leads to an archive in which the file lies."""
    return self.address is not None and self.address.endswith(('.zip', '.tar.gz'))

  @property
  def file(self) -> str:
    """What the file is called where downloads are kept."""
    path = urlsplit(self.address or '').path
    ending = next((end for end in _WITHIN if path.endswith(end)), None)
    return path.rpartition('/')[2] if ending is None else f'{self.name}{_WITHIN[ending]}'


@functools.cache
def entries() -> Mapping[str, Entry]:
  """All entries by name."""
  with Path(__file__).with_suffix('.csv').open(newline='') as file:
    return {row['name']: _entry(row) for row in csv.DictReader(file)}


def find(name: str) -> Entry:
  """The entry of a name.

  Raises:
    UserError: if there is none; it says which name is near.
  """
  if name not in entries():
    raise UserError(f'no published weights are called {name!r}: {_hint(name)}')
  return entries()[name]


def named(location: str | Path) -> Entry | None:
  """The entry that is meant where a path may stand as well; None for a path.

  Raises:
    UserError: for what is neither, and does not look like a file's name.
  """
  text = str(location)
  if Path(text).exists() or (text not in entries() and re.search(r'[/\\,]|\.[a-z]+$', text)):
    return None
  if text not in entries():
    raise UserError(
      f'{text!r} is no file or folder, and no published weights are called so: {_hint(text)}'
    )
  return entries()[text]


def _hint(name: str) -> str:
  near = nearest(name, entries())
  listing = 'pspnet zoo list'
  return f'did you mean {near}? ({listing})' if near else f'{listing} has all names.'


def _entry(row: Mapping[str, str]) -> Entry:
  def sizes(key: str) -> tuple[int, ...] | None:
    return tuple(map(int, re.findall(r'\d+', row[key]))) or None

  def pair(key: str) -> tuple[int, int] | None:
    found = sizes(key)
    return None if found is None else (found[0], found[1])

  def number(key: str) -> float | None:
    return float(row[key]) if row[key] else None

  stride, megabytes = number('stride'), number('megabytes')
  return Entry(
    name=row['name'],
    source=row['source'],
    data=row['data'],
    depth=int(row['depth']),
    stem_channels=sizes('stem') or (),
    avg_down=row['avg_down'] == 'true',
    output_stride=int(row['output_stride'] or 8),
    align_corners=row['align_corners'] == 'true',
    crop_size=pair('crop_size'),
    window=pair('window'),
    stride=None if stride is None else int(stride),
    test_scale=pair('test_scale'),
    score=number('score'),
    score_ms=number('score_ms'),
    megabytes=None if megabytes is None else int(megabytes),
    sha256=row['sha256'],
    sha1=row['sha1'],
    address=row['address'] or None,
  )
