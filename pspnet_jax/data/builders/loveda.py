"""LoveDA: satellite images of 1024x1024, urban and rural, in 7 classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from pspnet_jax.data.builders.archives import Archive, Download
from pspnet_jax.data.builders.base import Builder, Pair, paired
from pspnet_jax.data.label_ids import label_table
from pspnet_jax.data.remote_sensing import LOVEDA

_RECORD = 'https://zenodo.org/records/5706578/files/'  # which publishes the checksums, too
_TRAIN = Download(
  'Train.zip', f'{_RECORD}Train.zip', '4.0 GB', md5='de2b196043ed9b4af1690b3f9a7d558f'
)
_VAL = Download('Val.zip', f'{_RECORD}Val.zip', '2.4 GB', md5='84cae2577468ff0b5386758bb386d31d')
_TEST = Download('Test.zip', f'{_RECORD}Test.zip', '3.1 GB', md5='a489be0090465e01fb067795d24e6b47')
_TABLE = label_table(range(1, 8), ignore_ids=(0,))  # 0 is no data


class Loveda(Builder):
  """LoveDA (Wang et al., NeurIPS 2021 Datasets and Benchmarks): satellite images in 7 classes."""

  spec = LOVEDA
  homepage = 'https://github.com/Junjue-Wang/LoveDA'
  downloads = (_TRAIN, _VAL, _TEST)
  counts: ClassVar[Mapping[str, int]] = {'train': 2_522, 'val': 1_669, 'test': 1_796}
  shard_size = 64  # examples of one and a half megabytes each

  def pairs(self, archives: Mapping[str, Path]) -> Mapping[str, Sequence[Pair]]:
    train, val, test = (Archive(archives[download.file]) for download in self.downloads)
    images = test.members(r'Test/(?:Rural|Urban)/images_png/(\d+)\.png')
    return {
      'train': _labelled(train, 'Train'),
      'val': _labelled(val, 'Val'),
      'test': [Pair(name, image, lambda: None) for name, image in images.items()],
    }


def _labelled(archive: Archive, folder: str) -> list[Pair]:
  """The examples of both scenes, whose numbers do not repeat."""
  return paired(
    archive.members(rf'{folder}/(?:Rural|Urban)/images_png/(\d+)\.png'),
    archive.members(rf'{folder}/(?:Rural|Urban)/masks_png/(\d+)\.png'),
    _TABLE,
  )
