"""Finds what would spoil training, from all examples of a data set together."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from pspnet_jax.checkup.id_patterns import recognise
from pspnet_jax.checkup.palettes import contradictions
from pspnet_jax.checkup.survey import Fault, Record
from pspnet_jax.data.orientation import OTHER_FRAME
from pspnet_jax.data.spec import DatasetSpec

Level = Literal['error', 'warning']
_MISREAD = ('ids count from 1', 'masks of 0 and 255')  # patterns that make classes seem absent
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
    return sum(self._class_pixels, np.zeros(self.spec.num_classes, np.int64))

  @property
  def class_images(self) -> np.ndarray:
    """In how many images each class occurs, int64 [C]."""
    present = (pixels > 0 for pixels in self._class_pixels)
    return sum(present, np.zeros(self.spec.num_classes, np.int64))

  @property
  def ignored_share(self) -> float:
    pixels = sum(record.pixels for record in self.records)
    return sum(record.ignored for record in self.records) / max(pixels, 1)

  @property
  def _class_pixels(self) -> list[np.ndarray]:
    """The counts of the labels that could be read."""
    return [x for record in self.records if (x := record.class_pixels) is not None]


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
  for survey in splits:
    level: Level = 'warning' if skip_bad else 'error'
    faults: list[tuple[Level, Fault]] = [('error', fault) for fault in survey.faults]
    faults += [(level, fault) for record in survey.records for fault in record.faults]
    found += [
      Finding(level, fault.kind, survey.split, fault.where, fault.message)
      for level, fault in faults
    ]
    found += _empty(survey) + _turned(survey) + _small(survey, crop_size)
  patterns = _patterns(splits)
  found += patterns + _palettes(splits) + _duplicates(splits)
  found += _alike(splits[0].spec) if splits else []
  if not any(finding.kind in _MISREAD and not finding.where for finding in patterns):
    found += _background_alone(splits) + _absent({survey.split: survey for survey in splits})
  return sorted(found, key=lambda finding: finding.level == 'warning')


def median_frequency_weights(splits: Sequence[Surveyed]) -> list[float]:
  """Class weights by median frequency balancing (Eigen & Fergus 2015, arXiv:1411.4734).

  The weight of a class is the median of all frequencies over its own, where the frequency of a
  class is its share of the valid pixels of the images in which it occurs; 0 for a class that never
  occurs.
  """
  num_classes = splits[0].spec.num_classes
  own, all_pixels = np.zeros(num_classes), np.zeros(num_classes)
  for record in (record for survey in splits for record in survey.records):
    if record.class_pixels is not None:
      own += record.class_pixels
      all_pixels += (record.class_pixels > 0) * record.class_pixels.sum()
  present = own > 0
  frequency = own[present] / all_pixels[present]
  weights = np.zeros(num_classes)
  weights[present] = np.median(frequency) / frequency if present.any() else 0
  return [float(f'{w:.4g}') for w in weights]


def _empty(survey: Surveyed) -> list[Finding]:
  found = []
  for record in survey.records:
    if record.pixels and record.ignored_share >= ALMOST_ALL:
      kind = 'nothing labelled' if record.ignored == record.pixels else 'almost nothing labelled'
      label = record.label_file
      message = f'{label} has {record.ignored_share:.1%} of its pixels ignored: label or remove it.'
      found.append(Finding('warning', kind, survey.split, label, message))
    if record.constant:
      message = f'the image {record.name} is of one colour throughout: replace or remove it.'
      found.append(Finding('warning', 'constant image', survey.split, record.name, message))
  return found


def _turned(survey: Surveyed) -> list[Finding]:
  """Photos that the camera turned, unless their labels plainly lie right."""
  found = []
  for record in survey.records:
    if record.orientation == 1 or record.frame == 'right':
      continue
    what = f'the image {record.name} is turned by its EXIF orientation ({record.orientation})'
    remedy = f'{OTHER_FRAME}, or turn the label'
    finding = (
      Finding(
        'error',
        'label on the other frame',
        survey.split,
        record.label_file,
        f'{what}, and {record.label_file} fits it as turned the other way: {remedy}.',
      )
      if record.frame == 'other'
      else Finding(
        'warning',
        'turned image',
        survey.split,
        record.label_file,
        f'{what}, and {record.label_file} may have been drawn on the other frame: look at it, and '
        f'if so {remedy}.',
      )
    )
    found.append(finding)
  return found


def _small(survey: Surveyed, crop_size: tuple[int, int]) -> list[Finding]:
  if survey.split != 'train':
    return []
  sizes = [record.size for record in survey.records if record.size is not None]
  small = [size for size in sizes if size[0] < crop_size[0] or size[1] < crop_size[1]]
  if not small:
    return []
  least = min(small)
  message = (
    f'{len(small)} of {len(sizes)} images are smaller than crop_size '
    f'({crop_size[0]}×{crop_size[1]}), down to {least[0]}×{least[1]} (height × width), and are '
    'padded with ignored pixels: lower crop_size if these are many.'
  )
  return [Finding('warning', 'smaller than the crop', survey.split, '', message)]


def _patterns(splits: Sequence[Surveyed]) -> list[Finding]:
  files, split_of = {}, {}
  for survey in splits:
    for record in survey.records:
      if record.ids:
        files[record.label_file], split_of[record.label_file] = record.ids, survey.split
  table = next((survey.table for survey in splits if survey.table is not None), None)
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


def _palettes(splits: Sequence[Surveyed]) -> list[Finding]:
  of = {
    record.label_file: (survey.split, record.palette)
    for survey in splits
    for record in survey.records
    if record.palette
  }
  table = next((survey.table for survey in splits if survey.table is not None), None)
  if table is None:
    return []
  files = {file: palette for file, (_, palette) in of.items()}
  return [
    Finding('error', doubt.kind, of[doubt.file][0], doubt.file, doubt.message)
    for doubt in contradictions(files, splits[0].spec, table)
  ]


def _background_alone(splits: Sequence[Surveyed]) -> list[Finding]:
  """Splits whose labels hold nothing but class 0 and ignored pixels, or no class at all."""
  found = []
  for survey in splits:
    pixels = survey.class_pixels
    if not survey.records or pixels[1:].any() or any(r.faults for r in survey.records):
      continue
    name = survey.spec.class_names[0]
    message = (
      f'no label of the {survey.split} split holds another class than {name}: a network has '
      'nothing to learn from it: check the ids of the labels.'
      if pixels[0]
      else f'no pixel of the {survey.split} split has a class, all are ignored: check the ids.'
    )
    found.append(Finding('error', 'one class at most', survey.split, '', message))
  return found


def _alike(spec: DatasetSpec) -> list[Finding]:
  """Classes that no picture tells apart."""
  found: list[Finding] = []
  first: dict[tuple[int, int, int], str] = {}
  for name, colour in zip(spec.class_names, spec.palette, strict=True):
    other = first.setdefault(colour, name)
    if other != name:
      message = (
        f'the classes {other} and {name} have the same colour {colour}, so that no picture tells '
        'them apart: give one of them another.'
      )
      found.append(Finding('warning', 'same colour', 'train, val', name, message))
  return found


def _duplicates(splits: Sequence[Surveyed]) -> list[Finding]:
  groups: dict[str, list[tuple[str, Record]]] = collections.defaultdict(list)
  for survey in splits:
    for record in survey.records:
      if record.image_hash and not record.constant:
        groups[record.image_hash].append((survey.split, record))
  found = []
  for group in (g for g in groups.values() if len(g) > 1):
    names = ', '.join(f'{split}: {record.name}' for split, record in group[:4])
    names += f' and {len(group) - 4} more' if len(group) > 4 else ''
    across = len({split for split, _ in group}) > 1
    labels = len({record.label_hash for _, record in group if record.label_hash}) > 1
    what = 'the same image' + (' with different labels' if labels else '')
    message = (
      f'{what} is both trained and scored on ({names}), which flatters the score: remove one.'
      if across
      else f'{what} occurs {len(group)} times ({names}): keep one.'
    )
    kind = 'duplicate across splits' if across else 'duplicate'
    level: Level = 'error' if across else 'warning'
    found.append(
      Finding(level, kind, _joined(split for split, _ in group), group[0][1].name, message)
    )
  return found


def _absent(splits: Mapping[str, Surveyed]) -> list[Finding]:
  train = splits.get('train')
  if train is None or not train.class_images.any():  # which has causes of its own
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
