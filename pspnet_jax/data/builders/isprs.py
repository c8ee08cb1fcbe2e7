"""Potsdam and Vaihingen of ISPRS' 2D Semantic Labeling, in tiles and in 6 classes.

Tiles, split and labels are those of mmsegmentation's converters. Their stride is 256 in name, but
the tiles that they write lie 512 apart (issue 2811 there), which is how there are 3,456 and 2,016
of Potsdam, 344 and 398 of Vaihingen.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from pspnet_jax.data.builders.archives import Archive, Download, Member
from pspnet_jax.data.builders.base import Pair, paired
from pspnet_jax.data.builders.tiles import TiledBuilder
from pspnet_jax.data.decode import read_ids
from pspnet_jax.data.label_ids import ILLEGAL, colour_table, map_ids
from pspnet_jax.data.remote_sensing import ISPRS

_PAGE = 'https://www.isprs.org/education/benchmarks/UrbanSemLab/default.aspx'
_BOUNDARY = (0, 0, 0)  # the borders of all segments, which are not evaluated
_POTSDAM_IMAGES = Download('2_Ortho_RGB.zip', _PAGE, '4.1 GB unpacked', login=True)
_POTSDAM_LABELS = Download('5_Labels_all_noBoundary.zip', _PAGE, '4.1 GB unpacked', login=True)
_VAIHINGEN_IMAGES = Download(
  'ISPRS_semantic_labeling_Vaihingen.zip', _PAGE, '0.5 GB of images unpacked', login=True
)
_VAIHINGEN_LABELS = Download(
  'ISPRS_semantic_labeling_Vaihingen_ground_truth_eroded_COMPLETE.zip',
  _PAGE,
  '0.5 GB unpacked',
  login=True,
)


@functools.cache
def _table() -> np.ndarray:
  return colour_table(
    [[colour] for colour in ISPRS.palette], [_BOUNDARY], names=list(ISPRS.class_names)
  )


class _Isprs(TiledBuilder):
  """What both cities share.

  Attributes:
    train: names of the images that are trained on; the others are validated on.
    off_palette: names of those whose published labels have colours of no class. There, and nowhere
      else, such pixels are ignored, as mmsegmentation does everywhere, and counted.
  """

  spec = ISPRS
  homepage = _PAGE
  tile_size = stride = 512
  tile_name = '{name}_{left}_{top}_{right}_{bottom}'
  train: Collection[str]
  off_palette: Collection[str] = ()

  def _split(
    self, images: Mapping[str, Member], labels: Mapping[str, Member]
  ) -> Mapping[str, Sequence[Pair]]:
    pairs = [
      pair._replace(label=functools.partial(self._label, pair.name, labels[pair.name]))
      for pair in paired(images, labels, _table())
    ]
    return {
      'train': [pair for pair in pairs if pair.name in self.train],
      'val': [pair for pair in pairs if pair.name not in self.train],
    }

  def _label(self, name: str, member: Member) -> np.ndarray:
    colours = read_ids(str(member), data=member.read(), colours=True)
    if name in self.off_palette:
      strays = _table()[colours] == ILLEGAL
      if strays.any():
        self.say(
          f'{member}: {np.count_nonzero(strays):,} of {strays.size:,} pixels ({strays.mean():.1%}) '
          'have colours of no class, as published, and are ignored.'
        )
        colours[strays] = 0
    return map_ids(str(member), colours, _table())


class Potsdam(_Isprs):
  """ISPRS Potsdam: 38 aerial images, RGB of 6000x6000 at 5 cm, in tiles of 512x512."""

  downloads = (_POTSDAM_IMAGES, _POTSDAM_LABELS)
  images: ClassVar[Mapping[str, int]] = {'train': 24, 'val': 14}
  counts: ClassVar[Mapping[str, int]] = {'train': 3_456, 'val': 2_016}
  shard_size = 1  # images of 144 tiles each
  train = frozenset(
    f'{row}_{column}' for row in range(2, 8) for column in range(10 if row < 6 else 7, 13)
  )
  # 4_12 was saved with losses, so that hardly a pixel has its colour, and 6_7 has most of its cars
  # in (252, 255, 0). Both are of the training split.
  off_palette = ('4_12', '6_7')

  def pairs(self, archives: Mapping[str, Path]) -> Mapping[str, Sequence[Pair]]:
    images, labels = (Archive(archives[download.file]) for download in self.downloads)
    return self._split(
      images.members(r'(?:[^/]+/)?top_potsdam_(\d+_\d+)_RGB\.tif'),
      labels.members(r'(?:[^/]+/)?top_potsdam_(\d+_\d+)_label_noBoundary\.tif'),
    )


class Vaihingen(_Isprs):
  """ISPRS Vaihingen: 33 aerial images, infrared, red and green at 9 cm, in tiles of 512x512."""

  downloads = (_VAIHINGEN_IMAGES, _VAIHINGEN_LABELS)
  images: ClassVar[Mapping[str, int]] = {'train': 16, 'val': 17}
  counts: ClassVar[Mapping[str, int]] = {'train': 344, 'val': 398}
  shard_size = 4  # images of about 22 tiles each
  train = frozenset(
    f'area{i}' for i in (1, 3, 5, 7, 11, 13, 15, 17, 21, 23, 26, 28, 30, 32, 34, 37)
  )

  def pairs(self, archives: Mapping[str, Path]) -> Mapping[str, Sequence[Pair]]:
    images, labels = (Archive(archives[download.file]) for download in self.downloads)
    of_labels = labels.members(r'top_mosaic_09cm_(area\d+)_noBoundary\.tif')
    of_labels.pop('area9', None)  # published without its image
    return self._split(images.members(r'top/top_mosaic_09cm_(area\d+)\.tif'), of_labels)
