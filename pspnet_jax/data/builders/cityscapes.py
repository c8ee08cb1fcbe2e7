"""Cityscapes in the 19 classes that are evaluated: finely labelled, and the coarse extra images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from pspnet_jax.data.builders.archives import Archive, Download, Member
from pspnet_jax.data.builders.base import Builder, Pair, paired
from pspnet_jax.data.known_classes import CITYSCAPES, CITYSCAPES_LABELS
from pspnet_jax.data.label_ids import label_table

_PAGE = 'https://www.cityscapes-dataset.com/downloads'
_IMAGES = Download('leftImg8bit_trainvaltest.zip', _PAGE, '11 GB', login=True)
_LABELS = Download('gtFine_trainvaltest.zip', _PAGE, '0.2 GB', login=True)
_EXTRA_IMAGES = Download('leftImg8bit_trainextra.zip', _PAGE, '44 GB', login=True)
_EXTRA_LABELS = Download('gtCoarse.zip', _PAGE, '1.3 GB', login=True)
_BROKEN = 'troisdorf_000000_000073'  # published as a black image

_TABLE = label_table(
  [label.id for label in CITYSCAPES_LABELS if not label.ignore_in_eval],
  [label.id for label in CITYSCAPES_LABELS if label.ignore_in_eval and label.id >= 0],
)


class Cityscapes(Builder):
  """Cityscapes (Cordts et al., CVPR 2016): finely labelled streets in 19 classes."""

  spec = CITYSCAPES
  homepage = 'https://www.cityscapes-dataset.com'
  downloads = (_IMAGES, _LABELS)
  counts: ClassVar[Mapping[str, int]] = {'train': 2_975, 'val': 500, 'test': 1_525}
  shard_size = 64  # examples of two and a half megabytes each

  def pairs(self, archives: Mapping[str, Path]) -> Mapping[str, Sequence[Pair]]:
    images, labels = Archive(archives[_IMAGES.file]), Archive(archives[_LABELS.file])
    test = _images(images, 'test')
    return {
      'train': paired(_images(images, 'train'), _labels(labels, 'gtFine', 'train'), _TABLE),
      'val': paired(_images(images, 'val'), _labels(labels, 'gtFine', 'val'), _TABLE),
      'test': [Pair(name, image, lambda: None) for name, image in test.items()],
    }


class CityscapesCoarse(Builder):
  """Cityscapes' extra images (Cordts et al., CVPR 2016): coarsely labelled, in 19 classes."""

  spec = CITYSCAPES
  homepage = Cityscapes.homepage
  downloads = (_EXTRA_IMAGES, _EXTRA_LABELS)
  counts: ClassVar[Mapping[str, int]] = {'train_extra': 19_997}  # 19,998 with the broken one
  shard_size = Cityscapes.shard_size

  def pairs(self, archives: Mapping[str, Path]) -> Mapping[str, Sequence[Pair]]:
    images, labels = Archive(archives[_EXTRA_IMAGES.file]), Archive(archives[_EXTRA_LABELS.file])
    of_images, of_labels = (
      _images(images, 'train_extra'),
      _labels(labels, 'gtCoarse', 'train_extra'),
    )
    of_images.pop(_BROKEN, None)
    of_labels.pop(_BROKEN, None)
    return {'train_extra': paired(of_images, of_labels, _TABLE)}


def _images(archive: Archive, split: str) -> dict[str, Member]:
  return archive.members(rf'leftImg8bit/{split}/[^/]+/([^/]+)_leftImg8bit\.png')


def _labels(archive: Archive, kind: str, split: str) -> dict[str, Member]:
  return archive.members(rf'{kind}/{split}/[^/]+/([^/]+)_{kind}_labelIds\.png')
