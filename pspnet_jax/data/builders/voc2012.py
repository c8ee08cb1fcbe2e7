"""PASCAL VOC 2012 with the additional labels of the Semantic Boundaries Dataset (SBD).

The 10,582 images that everybody trains on (trainaug) are those of VOC's train and of SBD's train
and val, without VOC's val. Images that VOC labels have VOC's labels, the others SBD's, which have
no border: so do it mmsegmentation's voc12aug and DeepLab's SegmentationClassAug, whose list is
semseg's.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import scipy.io

from pspnet_jax.data.builders.archives import Archive, Download, read_tar_gz, text_of
from pspnet_jax.data.builders.base import Builder, Pair, paired
from pspnet_jax.data.known_classes import VOC2012
from pspnet_jax.data.label_ids import label_table, map_ids
from pspnet_jax.errors import UserError

_VOC = Download(
  file='VOCtrainval_11-May-2012.tar',
  url='http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar',
  size='2.0 GB',
  sha1='4e443f8a2eca6b1dac8a6c57641b67dd40621a49',  # GluonCV checks them, too
)
_SBD = Download(
  file='benchmark.tgz',
  url='https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/'
  'benchmark.tgz',
  size='1.4 GB',
  sha1='7129e0a480c2d6afb02b517bb18ac54283bfaa35',
)
_TABLE = label_table(range(21))  # 255 is the border, and what VOC leaves out


class Voc2012(Builder):
  """PASCAL VOC 2012 segmentation (Everingham et al.), augmented with SBD (Hariharan et al. 2011).

  The split `aug` is what trainaug has beside VOC's train.
  """

  spec = VOC2012
  homepage = 'http://host.robots.ox.ac.uk/pascal/VOC/voc2012'
  downloads = (_VOC, _SBD)
  counts: ClassVar[Mapping[str, int]] = {'train': 1_464, 'val': 1_449, 'aug': 9_118}

  def pairs(self, archives: Mapping[str, Path]) -> Mapping[str, Sequence[Pair]]:
    voc, sbd = Archive(archives[_VOC.file]), archives[_SBD.file]
    lists = voc.members(r'VOCdevkit/VOC2012/ImageSets/Segmentation/(train|val)\.txt')
    images = voc.members(r'VOCdevkit/VOC2012/JPEGImages/([^/]+)\.jpg')
    masks = voc.members(r'VOCdevkit/VOC2012/SegmentationClass/([^/]+)\.png')
    self.say(f'Reading the labels in {sbd} ...')
    in_sbd = read_tar_gz(sbd, r'benchmark_RELEASE/dataset/((?:train|val)\.txt|cls/[^/]+\.mat)')
    if len(lists) < 2 or not {'train.txt', 'val.txt'} <= in_sbd.keys():
      raise UserError(f'{voc.path} or {sbd} has no train.txt and val.txt: download them again.')
    splits = {split: set(text_of(member, member.read()).split()) for split, member in lists.items()}
    augmented = set(text_of(sbd, in_sbd['train.txt'] + b'\n' + in_sbd['val.txt']).split())
    mats = {name: in_sbd[f'cls/{name}.mat'] for name in augmented if f'cls/{name}.mat' in in_sbd}
    extra = sorted(augmented - splits['train'] - splits['val'])
    lost = [name for name in extra if name not in images or name not in mats]
    if lost:
      raise UserError(
        f'{voc.path} and {sbd} lack the image or the label of {lost[0]} and of {len(lost) - 1} '
        'more: download them again.'
      )

    def of_voc(split: str) -> list[Pair]:
      names = splits[split]
      return paired(
        {name: image for name, image in images.items() if name in names},
        {name: mask for name, mask in masks.items() if name in names},
        _TABLE,
      )

    return {
      'train': of_voc('train'),
      'val': of_voc('val'),
      'aug': [
        Pair(name, images[name], functools.partial(_mat_label, f'{sbd}/{name}.mat', mats[name]))
        for name in extra
      ],
    }


def _mat_label(where: str, data: bytes) -> np.ndarray:
  """The class ids in a file of SBD's `cls` folder."""
  try:
    ids = scipy.io.loadmat(io.BytesIO(data))['GTcls'][0]['Segmentation'][0]
  except Exception as e:  # whatever a damaged file makes of SciPy's reader
    raise UserError(f'{where} is no label of SBD ({e}): download the archive again.') from e
  return map_ids(where, np.ascontiguousarray(ids), _TABLE)
