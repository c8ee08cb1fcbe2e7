"""Finds what would spoil training, from all examples of a data set together."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from pspnet_jax.checkup.id_patterns import recognise
from pspnet_jax.checkup.survey import Fault, Record
from pspnet_jax.data.spec import DatasetSpec

Level = Literal['error', 'warning']
ALMOST_ALL = 0.99  # a label with this share of its pixels ignored teaches next to nothing


class Finding(NamedTuple):
  """Something to mend (error: training or its score would go wrong) or to look at (warning)."""

  level: Level
  kind: str  # such as 'sizes differ'
  split: str  # 'train', 'val', or 'train, val' for what concerns both
  where: str  # a file, an example or a class; '' for the data set as a whole
  message: str


@dataclasses.dataclass
class Surveyed:
  """A split that was read through."""

  split: str
  spec: DatasetSpec
  records: list[Record]
  faults: list[Fault] = dataclasses.field(default_factory=list)  # what the folder as a whole has
  table: np.ndarray | None = None  # from stored ids to classes, where the ids are known

  @property
  def class_pixels(self) -> np.ndarray:
    """How many pixels each class has, int64 [C]."""
    return sum((r.class_pixels for r in self._labelled), np.zeros(self.spec.num_classes, np.int64))

  @property
  def class_images(self) -> np.ndarray:
    """In how many images each class occurs, int64 [C]."""
    present = (r.class_pixels > 0 for r in self._labelled if r.class_pixels is not None)
    return sum(present, np.zeros(self.spec.num_classes, np.int64))

  @property
  def ignored_share(self) -> float:
    return sum(r.ignored for r in self.records) / max(sum(r.pixels for r in self.records), 1)

  @property
  def _labelled(self) -> list[Any]:
    return [r for r in self.records if r.class_pixels is not None]


def diagnose(
  splits: Sequence[Surveyed], crop_size: tuple[int, int], *, skip_bad: bool = False
) -> list[Finding]:
  """Lists all findings, errors first.

  Args:
    splits: what was read.
    crop_size: height and width in training.
    skip_bad: training leaves out examples that it cannot use: these are warnings then.
  """
  found: list[Finding] = []
  for s in splits:
    found += [Finding('error', f.kind, s.split, f.where, f.message) for f in s.faults]
    level: Level = 'warning' if skip_bad else 'error'
    found += [
      Finding(level, f.kind, s.split, f.where, f.message) for r in s.records for f in r.faults
    ]
    found += _empty(s) + _small(s, crop_size)
  patterns = _patterns(splits)
  found += patterns + _duplicates(splits)
  if not any(f.kind == 'ids count from 1' and not f.where for f in patterns):
    found += _absent({s.split: s for s in splits})
  return sorted(found, key=lambda f: f.level == 'warning')


def median_frequency_weights(splits: Sequence[Surveyed]) -> list[float]:
  """Class weights by median frequency balancing (Eigen & Fergus 2015, arXiv:1411.4734).

  The weight of a class is the median of all frequencies over its own, where the frequency of a
  class is its share of the valid pixels of the images in which it occurs; 0 for a class that never
  occurs.
  """
  num_classes = splits[0].spec.num_classes
  own, all_pixels = np.zeros(num_classes), np.zeros(num_classes)
  for record in (r for s in splits for r in s.records):
    if record.class_pixels is not None:
      own += record.class_pixels
      all_pixels += (record.class_pixels > 0) * record.class_pixels.sum()
  present = own > 0
  frequency = own[present] / all_pixels[present]
  weights = np.zeros(num_classes)
  weights[present] = np.median(frequency) / frequency if present.any() else 0
  return [float(f'{w:.4g}') for w in weights]


def _empty(s: Surveyed) -> list[Finding]:
  found = []
  for r in s.records:
    if r.pixels and r.ignored_share >= ALMOST_ALL:
      kind = 'nothing labelled' if r.ignored == r.pixels else 'almost nothing labelled'
      message = (
        f'{r.label_file} has {r.ignored_share:.1%} of its pixels ignored: label or remove it.'
      )
      found.append(Finding('warning', kind, s.split, r.label_file, message))
    if r.constant:
      message = f'the image {r.name} is of one colour throughout: replace or remove it.'
      found.append(Finding('warning', 'constant image', s.split, r.name, message))
  return found


def _small(s: Surveyed, crop_size: tuple[int, int]) -> list[Finding]:
  if s.split != 'train':
    return []
  sizes = [r.size for r in s.records if r.size is not None]
  small = [size for size in sizes if size[0] < crop_size[0] or size[1] < crop_size[1]]
  if not small:
    return []
  least = min(small)
  message = (
    f'{len(small)} of {len(sizes)} images are smaller than crop_size '
    f'({crop_size[0]}×{crop_size[1]}), down to {least[0]}×{least[1]} (height × width), and are '
    'padded with ignored pixels: lower crop_size if these are many.'
  )
  return [Finding('warning', 'smaller than the crop', s.split, '', message)]


def _patterns(splits: Sequence[Surveyed]) -> list[Finding]:
  files, split_of = {}, {}
  for s in splits:
    for r in s.records:
      if r.ids:
        files[r.label_file], split_of[r.label_file] = r.ids, s.split
  table = next((s.table for s in splits if s.table is not None), None)
  if table is None or not files:
    return []
  found = []
  for pattern in recognise(files, table):
    if pattern.everywhere:
      split = _joined(split_of[file] for file in pattern.files)
      found.append(Finding('error', pattern.kind, split, '', pattern.message()))
      continue
    for file in pattern.files:  # a guess; if ids are illegal, that is an error of its own
      message = pattern.message([file])
      found.append(Finding('warning', pattern.kind, split_of[file], file, message))
  return found


def _duplicates(splits: Sequence[Surveyed]) -> list[Finding]:
  groups: dict[str, list[tuple[str, Record]]] = collections.defaultdict(list)
  for s in splits:
    for r in s.records:
      if r.image_hash and not r.constant:
        groups[r.image_hash].append((s.split, r))
  found = []
  for group in (g for g in groups.values() if len(g) > 1):
    names = ', '.join(f'{split}: {r.name}' for split, r in group[:4])
    names += f' and {len(group) - 4} more' if len(group) > 4 else ''
    across = len({split for split, _ in group}) > 1
    labels = len({r.label_hash for _, r in group if r.label_hash}) > 1
    what = 'the same image' + (' with different labels' if labels else '')
    message = (
      f'{what} is both trained and scored on ({names}), which flatters the score: remove one.'
      if across
      else f'{what} occurs {len(group)} times ({names}): keep one.'
    )
    kind = 'duplicate across splits' if across else 'duplicate'
    level: Level = 'error' if across else 'warning'
    found.append(Finding(level, kind, _joined(s for s, _ in group), group[0][1].name, message))
  return found


def _absent(splits: Mapping[str, Surveyed]) -> list[Finding]:
  train = splits.get('train')
  if train is None or not train.records:
    return []
  in_train = train.class_images
  in_val = splits['val'].class_images if 'val' in splits else np.zeros_like(in_train)
  found = []
  for i in np.flatnonzero(in_train == 0):
    name = train.spec.class_names[i]
    if in_val[i]:
      message = (
        f'class {i} ({name}) occurs in {in_val[i]} validation images and in no training image, so '
        'it cannot be learnt: move some of them to the training split.'
      )
      found.append(Finding('error', 'class only in val', 'train, val', name, message))
    else:
      message = f'class {i} ({name}) occurs nowhere: check the ids, or remove it from the classes.'
      found.append(Finding('warning', 'class never seen', 'train, val', name, message))
  return found


def _joined(splits: Iterable[str]) -> str:
  return ', '.join(dict.fromkeys(splits))
