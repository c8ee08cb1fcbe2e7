"""Says what the data doctor found: tables and sentences, JSON, and a page of pictures."""

from __future__ import annotations

import collections
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pspnet_jax.checkup import contact_sheet
from pspnet_jax.checkup.contact_sheet import Tile
from pspnet_jax.checkup.diagnosis import ALMOST_ALL, Finding, Surveyed, median_frequency_weights
from pspnet_jax.data.spec import IGNORE_LABEL, Source, StoredLabels
from pspnet_jax.errors import UserError
from pspnet_jax.reporting.console import Cell

KIND_COLUMNS = ('', 'what', 'train', 'val')
_SHOWN_OF_A_KIND = 3
_WORST, _RANDOM = 16, 8  # pictures


def class_table(splits: Sequence[Surveyed]) -> tuple[list[str], list[list[Cell]]]:
  """Headings, and a row for each class: its pixels and images in each split, and its weight."""
  columns, rows = ['class'], [[name] for name in splits[0].spec.class_names]
  rows.append(['ignored'])
  table: list[list[Cell]] = [[*row] for row in rows]
  for survey in splits:
    columns += [f'{survey.split} pixels %', f'{survey.split} images']
    pixels = max(sum(record.pixels for record in survey.records), 1)
    for row, own, images in zip(table, survey.class_pixels, survey.class_images, strict=False):
      row += [100 * float(own) / pixels, int(images)]
    table[-1] += [100 * survey.ignored_share, sum(record.ignored > 0 for record in survey.records)]
  columns.append('weight')
  weights = median_frequency_weights(splits[:1])
  for row, weight in zip(table, [*weights, None], strict=True):
    row.append(weight)
  return columns, table


def kind_table(found: Sequence[Finding]) -> list[list[Cell]]:
  """Rows of `KIND_COLUMNS`: how often each kind of finding occurs in each split, errors first."""
  counts: dict[tuple[str, str], list[int]] = {}
  for finding in found:
    row = counts.setdefault((finding.level, finding.kind), [0, 0])
    for i, split in enumerate(('train', 'val')):
      row[i] += split in finding.split.split(', ')
  return [[level, kind, *(n or None for n in row)] for (level, kind), row in counts.items()]


def messages(found: Sequence[Finding]) -> Iterator[str]:
  """The first few sentences of each kind, and how many more there are."""
  by_kind: dict[tuple[str, str], list[Finding]] = collections.defaultdict(list)
  for finding in found:
    by_kind[finding.level, finding.kind].append(finding)
  for (level, kind), same in by_kind.items():
    for finding in same[:_SHOWN_OF_A_KIND]:
      yield f'{level}: {finding.message}'
    if len(same) > _SHOWN_OF_A_KIND:
      yield f'{level}: {kind}: {len(same) - _SHOWN_OF_A_KIND} more'


def advice(splits: Sequence[Surveyed]) -> str:
  """Gives the class weights as a flag."""
  weights = ','.join(f'{w:.3g}' for w in median_frequency_weights(splits[:1]))
  return (
    'Weights by median frequency (Eigen & Fergus 2015), for rare classes that are missed:\n'
    f'  --config.loss.class_weights={weights}'
  )


def verdict(found: Sequence[Finding], examples: int, duration: str) -> str:
  """One line at the end."""
  errors = sum(finding.level == 'error' for finding in found)
  warnings = len(found) - errors
  outcome = 'training would go wrong: mend the errors first' if errors else 'ready to train'
  counts = f'{errors} error(s), {warnings} warning(s)'
  return f'{examples:,} examples read in {duration}: {counts}; {outcome}.'


def as_json(splits: Sequence[Surveyed], found: Sequence[Finding], seconds: float) -> dict[str, Any]:
  """Gives everything in values that JSON has, for programs."""
  names = splits[0].spec.class_names
  return {
    'seconds': round(seconds, 2),
    'sound': not any(finding.level == 'error' for finding in found),
    'classes': list(names),
    'class_weights': median_frequency_weights(splits[:1]),
    'splits': {survey.split: _split_json(survey) for survey in splits},
    'findings': [finding._asdict() for finding in found],
  }


def _split_json(survey: Surveyed) -> dict[str, Any]:
  ids: collections.Counter[int] = collections.Counter()
  for record in survey.records:
    ids.update(record.ids)
  sizes = collections.Counter(record.size for record in survey.records if record.size)
  return {
    'examples': len(survey.records),
    'pixels': sum(record.pixels for record in survey.records),
    'ignored_share': survey.ignored_share,
    'class_pixels': survey.class_pixels.tolist(),
    'class_images': survey.class_images.tolist(),
    'ids': {str(i): ids[i] for i in sorted(ids)},  # ids as the label files store them
    'sizes': {f'{h}x{w}': n for (h, w), n in sizes.most_common(20)},  # height x width
    'images': [
      {
        'name': record.name,
        'pixels': record.pixels,
        'ignored': record.ignored,
        'class_pixels': {
          str(i): int(record.class_pixels[i]) for i in np.flatnonzero(record.class_pixels)
        }
        if record.class_pixels is not None
        else {},
      }
      for record in survey.records
    ],
  }


def page(
  sources: Mapping[str, Source],
  splits: Sequence[Surveyed],
  found: Sequence[Finding],
  *,
  seed: int = 0,
) -> np.ndarray:
  """Draws the contact sheet: the worst examples, kind by kind in turns, and some at random."""
  # Findings point to files or names; the value is the split and the index of that example.
  at: dict[tuple[str, str], tuple[str, int]] = {}
  for survey in splits:
    for record in survey.records:
      at |= {
        (survey.split, where): (survey.split, record.index)
        for where in (record.name, record.label_file)
      }
      at |= {(survey.split, fault.where): (survey.split, record.index) for fault in record.faults}
  by_kind: dict[str, list[tuple[tuple[str, int], Finding]]] = collections.defaultdict(list)
  for finding in found:
    place = at.get((finding.split.split(', ')[0], finding.where))
    if place is not None:
      by_kind[finding.kind].append((place, finding))
  turns = max((len(same) for same in by_kind.values()), default=0)
  worst = [same[i] for i in range(turns) for same in by_kind.values() if i < len(same)]
  tiles: list[Tile] = []
  shown: set[tuple[str, int]] = set()
  for place, finding in worst:
    if place not in shown and len(shown) < _WORST:
      shown.add(place)
      tiles.append(_tile(sources, splits, place, finding))
  sound = [
    (survey.split, record.index)
    for survey in splits
    for record in survey.records
    if not record.faults
    and record.ignored_share < ALMOST_ALL
    and (survey.split, record.index) not in shown
  ]
  rng = np.random.default_rng(seed)
  drawn = [sound[i] for i in sorted(rng.permutation(len(sound))[:_RANDOM])]
  random = [_tile(sources, splits, place) for place in drawn]
  return contact_sheet.draw([('Look at these', tiles), ('Drawn at random', random)], splits[0].spec)


def _tile(
  sources: Mapping[str, Source],
  splits: Sequence[Surveyed],
  place: tuple[str, int],
  finding: Finding | None = None,
) -> Tile:
  split, index = place
  source = sources[split]
  record = next(survey for survey in splits if survey.split == split).records[index]
  title = f'{split}: {record.name}'
  text = f'{finding.kind}: {_reason(finding)}' if finding else ''
  if isinstance(source, StoredLabels):
    label = _read(source.stored_label, index)
    if label is not None:  # an illegal id shows as ignored here
      known = (label >= 0) & (label < len(source.table))
      classes = source.table[np.where(known, label, 0)]
      label = np.where(known & (classes >= 0), classes, IGNORE_LABEL).astype(np.uint8)
    return Tile(_read(source.image, index), label, title, text)
  example = _read(source.__getitem__, index)
  return Tile(example and example['image'], example and example['label'], title, text)


def _reason(finding: Finding) -> str:
  """The sentence without the folders, which the title says already."""
  folder, slash, _ = finding.where.rpartition('/')
  message = finding.message.removeprefix(f'{finding.where} ')
  return message.replace(folder + slash, '') if slash else message


def _read(function: Any, *arguments: Any) -> Any:
  try:
    return function(*arguments)
  except UserError:
    return None
