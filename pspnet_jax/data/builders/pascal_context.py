"""Pascal Context: VOC 2010's images, labelled all over, in 59 classes and a background.

Labels are those that the authors published, of 459 classes, of which the 59 most frequent count.
They are in the order of their ids, which is that of mmsegmentation's labels.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from pspnet_jax.data.builders.archives import Archive, Download, read_tar_gz, text_of
from pspnet_jax.data.builders.base import Builder, Pair
from pspnet_jax.data.builders.mat_files import mat_label
from pspnet_jax.data.known_classes import PASCAL_CONTEXT
from pspnet_jax.data.label_ids import label_table
from pspnet_jax.errors import UserError

_IMAGES = Download(
  file='VOCtrainval_03-May-2010.tar',
  url='http://host.robots.ox.ac.uk/pascal/VOC/voc2010/VOCtrainval_03-May-2010.tar',
  size='1.3 GB',
  md5='da459979d0c395079b5c75ee67908abb',  # torchvision checks it, too
)
_LABELS = Download(
  file='trainval.tar.gz',
  url='https://cs.stanford.edu/~roozbeh/pascal-context/trainval.tar.gz',
  size='31 MB',
)
# Ids of the 59 classes among the 459 of labels.txt.
_IDS = (
  *(2, 9, 18, 19, 22, 23, 25, 31, 33, 34, 44, 45, 46, 59, 65, 68, 72, 80, 85, 98, 104, 105, 113),
  *(115, 144, 158, 159, 162, 187, 189, 207, 220, 232, 258, 259, 260, 284, 295, 296, 308, 324, 326),
  *(347, 349, 354, 355, 360, 366, 368, 397, 415, 416, 420, 424, 427, 440, 445, 454, 458),
)
_BACKGROUND = [i for i in range(460) if i not in _IDS]  # the 400 rare classes, and no class
_TABLE = label_table([_BACKGROUND, *_IDS])


class PascalContext(Builder):
  """Pascal Context (Mottaghi et al., CVPR 2014) in 59 classes and a background."""

  spec = PASCAL_CONTEXT
  homepage = 'https://cs.stanford.edu/~roozbeh/pascal-context'
  downloads = (_IMAGES, _LABELS)
  counts: ClassVar[Mapping[str, int]] = {'train': 4_998, 'val': 5_105}

  def pairs(self, archives: Mapping[str, Path]) -> Mapping[str, Sequence[Pair]]:
    voc, labels = Archive(archives[_IMAGES.file]), archives[_LABELS.file]
    lists = voc.members(r'VOCdevkit/VOC2010/ImageSets/Main/(train|val)\.txt')
    images = voc.members(r'VOCdevkit/VOC2010/JPEGImages/([^/]+)\.jpg')
    self.say(f'Reading the labels in {labels} ...')
    mats = read_tar_gz(labels, r'trainval/([^/]+)\.mat')
    if len(lists) < 2:
      raise UserError(f'{voc.path} has no train.txt and val.txt: download it again.')

    def of_split(split: str) -> list[Pair]:
      names = sorted(set(text_of(lists[split], lists[split].read()).split()))
      if lost := [name for name in names if name not in images or name not in mats]:
        raise UserError(
          f'{voc.path} and {labels} lack the image or the label of {lost[0]} and of '
          f'{len(lost) - 1} more: download them again.'
        )
      return [
        Pair(
          name,
          images[name],
          functools.partial(mat_label, f'{labels}/{name}.mat', mats[name], 'LabelMap', _TABLE),
        )
        for name in names
      ]

    return {'train': of_split('train'), 'val': of_split('val')}
