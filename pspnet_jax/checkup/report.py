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
  for s in splits:
    columns += [f'{s.split} pixels %', f'{s.split} images']
    pixels = max(sum(r.pixels for r in s.records), 1)
    for row, own, images in zip(table, s.class_pixels, s.class_images, strict=False):
      row += [100 * float(own) / pixels, int(images)]
    table[-1] += [100 * s.ignored_share, sum(r.ignored > 0 for r in s.records)]
  columns.append('weight')
  weights = median_frequency_weights(splits[:1])
  for row, weight in zip(table, [*weights, None], strict=True):
    row.append(weight)
  return columns, table


def kind_table(found: Sequence[Finding]) -> list[list[Cell]]:
  """Rows of `KIND_COLUMNS`: how often each kind of finding occurs in each split, errors first."""
  counts: dict[tuple[str, str], list[int]] = {}
  for f in found:
    row = counts.setdefault((f.level, f.kind), [0, 0])
    for i, split in enumerate(('train', 'val')):
      row[i] += split in f.split.split(', ')
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
  errors = sum(f.level == 'error' for f in found)
  warnings = len(found) - errors
  outcome = 'training would go wrong: mend the errors first' if errors else 'ready to train'
  counts = f'{errors} error(s), {warnings} warning(s)'
  return f'{examples:,} examples read in {duration}: {counts}; {outcome}.'


def as_json(splits: Sequence[Surveyed], found: Sequence[Finding], seconds: float) -> dict[str, Any]:
  """Gives everything in values that JSON has, for programs."""
  names = splits[0].spec.class_names
  return {
    'seconds': round(seconds, 2),
    'sound': not any(f.level == 'error' for f in found),
    'classes': list(names),
    'class_weights': median_frequency_weights(splits[:1]),
    'splits': {s.split: _split_json(s) for s in splits},
    'findings': [f._asdict() for f in found],
  }


def _split_json(s: Surveyed) -> dict[str, Any]:
  ids: collections.Counter[int] = collections.Counter()
  for r in s.records:
    ids.update(r.ids)
  sizes = collections.Counter(r.size for r in s.records if r.size)
  return {
    'examples': len(s.records),
    'pixels': sum(r.pixels for r in s.records),
    'ignored_share': s.ignored_share,
    'class_pixels': s.class_pixels.tolist(),
    'class_images': s.class_images.tolist(),
    'ids': {str(i): ids[i] for i in sorted(ids)},  # ids as the label files store them
    'sizes': {f'{h}x{w}': n for (h, w), n in sizes.most_common(20)},  # height x width
    'images': [
      {
        'name': r.name,
        'pixels': r.pixels,
        'ignored': r.ignored,
        'class_pixels': {str(i): int(r.class_pixels[i]) for i in np.flatnonzero(r.class_pixels)}
        if r.class_pixels is not None
        else {},
      }
      for r in s.records
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
  for s in splits:
    for r in s.records:
      at |= {(s.split, where): (s.split, r.index) for where in (r.name, r.label_file)}
      at |= {(s.split, f.where): (s.split, r.index) for f in r.faults}
  by_kind: dict[str, list[tuple[tuple[str, int], Finding]]] = collections.defaultdict(list)
  for f in found:
    place = at.get((f.split.split(', ')[0], f.where))
    if place is not None:
      by_kind[f.kind].append((place, f))
  turns = max((len(same) for same in by_kind.values()), default=0)
  worst = [same[i] for i in range(turns) for same in by_kind.values() if i < len(same)]
  tiles: list[Tile] = []
  shown: set[tuple[str, int]] = set()
  for place, f in worst:
    if place not in shown and len(shown) < _WORST:
      shown.add(place)
      tiles.append(_tile(sources, splits, place, f))
  sound = [
    (s.split, r.index)
    for s in splits
    for r in s.records
    if not r.faults and r.ignored_share < ALMOST_ALL and (s.split, r.index) not in shown
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
  record = next(s for s in splits if s.split == split).records[index]
  title = f'{split}: {record.name}'
  text = f'{finding.kind}: {_reason(finding)}' if finding else ''
  if isinstance(source, StoredLabels):
    label = _read(source.stored_label, index)
    if label is not None:  # an illegal id shows as ignored here: black
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
