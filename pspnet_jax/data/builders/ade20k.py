"""ADE20K as the MIT Scene Parsing Benchmark has it: SceneParse150."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from pspnet_jax.data.builders.archives import Archive, Download
from pspnet_jax.data.builders.base import Builder, Pair, paired
from pspnet_jax.data.known_classes import ADE20K
from pspnet_jax.data.label_ids import label_table

_ZIP = Download(
  file='ADEChallengeData2016.zip',
  url='http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip',
  size='0.9 GB',
  sha1='219e1696abb36c8ba3a3afe7fb2f4b4606a897c7',  # GluonCV checks it, too
)
_TABLE = label_table(range(1, 151), ignore_ids=(0,))  # 0 is everything else


class Ade20k(Builder):
  """ADE20K SceneParse150 (Zhou et al., CVPR 2017): scenes in 150 classes."""

  spec = ADE20K
  homepage = 'http://sceneparsing.csail.mit.edu'
  downloads = (_ZIP,)
  counts: ClassVar[Mapping[str, int]] = {'train': 20_210, 'val': 2_000}

  def pairs(self, archives: Mapping[str, Path]) -> Mapping[str, Sequence[Pair]]:
    archive = Archive(archives[_ZIP.file])

    def of_split(folder: str) -> list[Pair]:
      return paired(
        archive.members(rf'ADEChallengeData2016/images/{folder}/([^/]+)\.jpg'),
        archive.members(rf'ADEChallengeData2016/annotations/{folder}/([^/]+)\.png'),
        _TABLE,
      )

    return {'train': of_split('training'), 'val': of_split('validation')}
