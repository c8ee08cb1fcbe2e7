"""Mapillary Vistas in the 65 classes of version 1.2 that are evaluated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from pspnet_jax.data.builders.archives import Archive, Download
from pspnet_jax.data.builders.base import Builder, Pair, paired
from pspnet_jax.data.known_classes import MAPILLARY
from pspnet_jax.data.label_ids import label_table

_ZIP = Download(
  file='mapillary-vistas-dataset_public_v1.2.zip',
  url='https://www.mapillary.com/dataset/vistas',
  size='over 20 GB',
  login=True,
)
_TABLE = label_table(range(65), ignore_ids=(65,))  # 65 is Unlabeled


class Mapillary(Builder):
  """Mapillary Vistas (Neuhold et al., ICCV 2017): streets all over the world in 65 classes."""

  spec = MAPILLARY
  homepage = _ZIP.url
  downloads = (_ZIP,)
  counts: ClassVar[Mapping[str, int]] = {'train': 18_000, 'val': 2_000}
  shard_size = 64  # examples of about a megabyte each

  def pairs(self, archives: Mapping[str, Path]) -> Mapping[str, Sequence[Pair]]:
    archive = Archive(archives[_ZIP.file])

    def of_split(folder: str) -> list[Pair]:
      return paired(
        archive.members(rf'{folder}/images/([^/]+)\.jpg'),
        archive.members(rf'{folder}/(?:v1\.2/)?labels/([^/]+)\.png'),  # version 2.0 has both
        _TABLE,
      )

    return {'train': of_split('training'), 'val': of_split('validation')}
