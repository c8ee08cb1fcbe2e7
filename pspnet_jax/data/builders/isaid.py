"""iSAID: the images of DOTA with the classes of their objects, in tiles."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from pspnet_jax.data.builders.archives import Archive, Download, Member
from pspnet_jax.data.builders.base import Pair, paired
from pspnet_jax.data.builders.tiles import TiledBuilder
from pspnet_jax.data.label_ids import colour_table
from pspnet_jax.data.remote_sensing import ISAID
from pspnet_jax.errors import UserError

_DOTA = 'https://captain-whu.github.io/DOTA/dataset.html'
_PAGE = 'https://captain-whu.github.io/iSAID/dataset.html'
_UNKNOWN = 'its size is not published'
_IMAGES = {
  'train': [
    Download(f'train/images/part{i}.zip', f'{_DOTA} (DOTA-v1.0, train)', _UNKNOWN, login=True)
    for i in (1, 2, 3)
  ],
  'val': [
    Download('val/images/part1.zip', f'{_DOTA} (DOTA-v1.0, val)', _UNKNOWN, login=True),
  ],
}
_LABELS = {
  split: Download(f'{split}/Semantic_masks/images.zip', _PAGE, _UNKNOWN, login=True)
  for split in _IMAGES
}


@functools.cache
def _table() -> np.ndarray:
  """From colours to classes; black is the first, and none is ignored."""
  return colour_table([[colour] for colour in ISAID.palette], names=list(ISAID.class_names))


class Isaid(TiledBuilder):
  """iSAID (Waqas Zamir et al., CVPR Workshops 2019): aerial images in tiles of 896x896.

  Tiles, names and what is filled up are those of mmsegmentation's converter.
  """

  spec = ISAID
  homepage = 'https://captain-whu.github.io/iSAID'
  downloads = (*_IMAGES['train'], _LABELS['train'], *_IMAGES['val'], _LABELS['val'])
  images: ClassVar[Mapping[str, int]] = {'train': 1_411, 'val': 458}
  counts: ClassVar[Mapping[str, int]] = {'train': 33_978, 'val': 11_644}
  tile_size, stride = 896, 512  # an overlap of 384
  tile_name = '{name}_{top}_{bottom}_{left}_{right}'
  shard_size = 8  # images of about 24 tiles each

  def pairs(self, archives: Mapping[str, Path]) -> Mapping[str, Sequence[Pair]]:
    return {split: self._of_split(archives, split) for split in self.images}

  def _of_split(self, archives: Mapping[str, Path], split: str) -> list[Pair]:
    images: dict[str, Member] = {}
    for download in _IMAGES[split]:
      part = Archive(archives[download.file]).members(r'(?:images/)?(P\d+)\.png')
      if twice := images.keys() & part.keys():
        first = min(twice)
        raise UserError(
          f'{images[first]} is in {part[first].archive.path} too: remove one of them.'
        )
      images |= part
    masks = Archive(archives[_LABELS[split].file])
    labels = masks.members(r'(?:images/)?(P\d+)_instance_color_RGB\.png')
    return paired(dict(sorted(images.items())), labels, _table())
