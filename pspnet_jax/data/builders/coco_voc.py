"""COCO 2017 in the 21 classes of PASCAL VOC, to train on ahead of VOC itself.

It follows GluonCV's COCOSegmentation, from which the published PSPNets with COCO pretraining come:
things of VOC's 20 classes keep them, whatever else is there is background; an image counts if more
than a thousand of its pixels are things; of things that overlap, the first in COCO's file lies on
top; and a crowd is of the class that it is a crowd of, because a semantic label does not tell one
person from another. Outlines are filled by COCO's own rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from pspnet_jax.data.builders import coco_images
from pspnet_jax.data.builders.archives import Archive, Download
from pspnet_jax.data.builders.base import Builder, Pair, check_partners
from pspnet_jax.data.builders.coco_instances import Outlined, read_instances
from pspnet_jax.data.in_order import in_order
from pspnet_jax.data.known_classes import VOC2012
from pspnet_jax.errors import UserError

_ANNOTATIONS = Download(
  file='annotations_trainval2017.zip',
  url='http://images.cocodataset.org/annotations/annotations_trainval2017.zip',
  size='0.2 GB',
  sha1='8551ee4bb5860311e79dace7e79cb91e432e78b3',  # GluonCV checks it, too
)
_MORE_THAN = 1000  # pixels of things
_IN_COCO = {
  'aeroplane': 'airplane',
  'diningtable': 'dining table',
  'motorbike': 'motorcycle',
  'pottedplant': 'potted plant',
  'sofa': 'couch',
  'tvmonitor': 'tv',
}
_CLASSES = {_IN_COCO.get(name, name): i for i, name in enumerate(VOC2012.class_names) if i}


class CocoVoc(Builder):
  """COCO 2017 (Lin et al., ECCV 2014) in the 21 classes of PASCAL VOC."""

  spec = VOC2012
  homepage = 'https://cocodataset.org'
  downloads = (coco_images.TRAIN, coco_images.VAL, _ANNOTATIONS)
  counts: ClassVar[Mapping[str, int]] = coco_images.COUNTS  # with what is left out
  _left_out: Mapping[str, int]

  def pairs(self, archives: Mapping[str, Path]) -> Mapping[str, Sequence[Pair]]:
    annotations = Archive(archives[_ANNOTATIONS.file])
    files = annotations.members(r'annotations/instances_(train|val)2017\.json')
    if len(files) < 2:
      raise UserError(f'{annotations.path} lacks instances of train2017 or val2017: download it.')
    self._left_out, splits = {}, {}
    for split, members in coco_images.images(archives).items():
      self.say(f'Reading {files[split]} ...')
      outlined = read_instances(files[split], _CLASSES)
      check_partners(members, {name: image.where for name, image in outlined.items()})
      kept = self._kept(split, outlined)
      splits[split] = [
        Pair(name, member, outlined[name].label) for name, member in members.items() if name in kept
      ]
    return splits

  def _counts_of_pairs(self) -> Mapping[str, int]:
    return {split: count - self._left_out[split] for split, count in self.counts.items()}

  def _kept(self, split: str, outlined: Mapping[str, Outlined]) -> set[str]:
    """The images with enough to see of the classes; says how many have not."""
    self.say(f"Looking for VOC's classes in {len(outlined):,} images of {split} ...")
    kept, bare = set(), 0
    for name, (area, nowhere) in zip(
      outlined, in_order(_measured, list(outlined.values())), strict=True
    ):
      bare += nowhere
      if area > _MORE_THAN:
        kept.add(name)
      else:
        self.advance()
    left_out = len(outlined) - len(kept)
    self._left_out = {**self._left_out, split: left_out}
    self.say(
      f'{left_out:,} images show {_MORE_THAN:,} pixels of them or fewer and are left out; {bare:,} '
      'outlines cover no pixel.'
    )
    return kept


def _measured(image: Outlined) -> tuple[int, int]:
  """How many pixels are things, and how many things are no pixels."""
  label, nowhere = image.draw()
  return int(np.count_nonzero(label)), nowhere
