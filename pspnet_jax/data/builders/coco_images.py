"""The images of COCO 2017, which several data sets label."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pspnet_jax.data.builders.archives import Archive, Download, Member

# Checksums are those of GluonCV's scripts/datasets/mscoco.py.
TRAIN = Download(
  file='train2017.zip',
  url='http://images.cocodataset.org/zips/train2017.zip',
  size='18 GB',
  sha1='10ad623668ab00c62c096f0ed636d6aff41faca5',
)
VAL = Download(
  file='val2017.zip',
  url='http://images.cocodataset.org/zips/val2017.zip',
  size='0.8 GB',
  sha1='4950dc9d00dbe1c933ee0170f5797584351d2a41',
)
COUNTS = {'train': 118_287, 'val': 5_000}


def images(archives: Mapping[str, Path]) -> dict[str, dict[str, Member]]:
  """The images of each split, by their names."""
  return {
    split: Archive(archives[download.file]).members(rf'{split}2017/([^/]+)\.jpg')
    for split, download in (('train', TRAIN), ('val', VAL))
  }
