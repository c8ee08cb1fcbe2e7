"""COCO-Stuff: 80 things and 91 kinds of stuff in COCO's images, all of 2017's or the first 10,000.

Ids of things that COCO names but nobody outlined are no class; mmsegmentation has the same 171.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from pspnet_jax.data.builders import coco_images
from pspnet_jax.data.builders.archives import Archive, Download, Member, text_of
from pspnet_jax.data.builders.base import Builder, Pair, check_partners, paired
from pspnet_jax.data.builders.mat_files import mat_label
from pspnet_jax.data.known_classes import COCO_STUFF
from pspnet_jax.data.label_ids import label_table
from pspnet_jax.errors import UserError

_AT = 'http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset'
_MAPS = Download(
  file='stuffthingmaps_trainval2017.zip',
  url=f'{_AT}/stuffthingmaps_trainval2017.zip',
  size='0.7 GB',
)
_ZIP_10K = Download(
  file='cocostuff-10k-v1.1.zip', url=f'{_AT}/cocostuff-10k-v1.1.zip', size='2.0 GB'
)
# Ids as labels.txt has them, 1-182 with 0 for unlabelled: without the things that COCO never
# outlined, such as hats and shoes. The 10k version's files hold them as they are; those of 2017
# count from 0, and have 255 for unlabelled.
_NEVER_OUTLINED = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91)
_IDS = [i for i in range(1, 183) if i not in _NEVER_OUTLINED]
_TABLE_10K = label_table(_IDS, ignore_ids=(0,))
_TABLE = label_table([i - 1 for i in _IDS])


class CocoStuff164k(Builder):
  """COCO-Stuff (Caesar et al., CVPR 2018): the labelled images of COCO 2017 in 171 classes."""

  spec = COCO_STUFF
  homepage = 'https://github.com/nightrome/cocostuff'
  downloads = (coco_images.TRAIN, coco_images.VAL, _MAPS)
  counts: ClassVar[Mapping[str, int]] = coco_images.COUNTS

  def pairs(self, archives: Mapping[str, Path]) -> Mapping[str, Sequence[Pair]]:
    maps = Archive(archives[_MAPS.file])
    return {
      split: paired(images, maps.members(rf'{split}2017/([^/]+)\.png'), _TABLE)
      for split, images in coco_images.images(archives).items()
    }


class CocoStuff10k(Builder):
  """COCO-Stuff 10k (Caesar et al. 2016): 10,000 images of COCO in 171 classes."""

  spec = COCO_STUFF
  homepage = 'https://github.com/nightrome/cocostuff10k'
  downloads = (_ZIP_10K,)
  counts: ClassVar[Mapping[str, int]] = {'train': 9_000, 'val': 1_000}

  def pairs(self, archives: Mapping[str, Path]) -> Mapping[str, Sequence[Pair]]:
    archive = Archive(archives[_ZIP_10K.file])
    lists = archive.members(r'imageLists/(train|test)\.txt')
    images = archive.members(r'images/([^/]+)\.jpg')
    labels = archive.members(r'annotations/([^/]+)\.mat')
    if len(lists) < 2:
      raise UserError(f'{archive.path} has no train.txt and test.txt: download it again.')
    check_partners(images, labels)

    def of_list(split: str) -> list[Pair]:
      names = sorted(set(text_of(lists[split], lists[split].read()).split()))
      if lost := [name for name in names if name not in images]:
        more = f' and {len(lost) - 1} more' if len(lost) > 1 else ''
        raise UserError(f'{archive.path} lacks {lost[0]}{more} of {split}.txt: download it again.')
      return [Pair(name, images[name], functools.partial(_label, labels[name])) for name in names]

    # The authors' README calls the 1,000 images of test.txt val, too.
    return {'train': of_list('train'), 'val': of_list('test')}


def _label(member: Member) -> np.ndarray:
  return mat_label(str(member), member.read(), 'S', _TABLE_10K)
