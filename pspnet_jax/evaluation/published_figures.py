"""Figures of each class that were published for a PSPNet, to lie beside one's own.

They are of a benchmark's test split, whose labels its server keeps, and of one network and
protocol: what is measured on other images is close at best.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from pspnet_jax.errors import UserError, nearest
from pspnet_jax.evaluation.figures import Figures, Table

_NONE = float('nan')  # a figure that there is not


@dataclasses.dataclass(frozen=True)
class Published:
  """Published figures in percent, as they stand there.

  Attributes:
    title: whose they are, and of which images.
    source: where they stand.
    columns: names of the figures.
    rows: figures by the name of the class.
    means: over the classes that have one.
  """

  title: str
  source: str
  columns: tuple[str, ...]
  rows: Mapping[str, tuple[float, ...]]
  means: tuple[float, ...]

  def check(self, names: Collection[str]) -> None:
    """Raises UserError if these are not the classes that the figures are of."""
    if set(names) != set(self.rows):
      other = sorted(set(names) ^ set(self.rows))
      raise UserError(
        f'the figures of {self.title} are of other classes than the data ({other[0]}, to begin '
        'with): leave out --published, or name figures of these classes.'
      )

  def beside(self, figures: Figures) -> Figures:
    """The figures with those that were published, and by how much they differ, in the table."""
    tables = tuple(self._beside(x) if x.kind == 'class' else x for x in figures.tables)
    return dataclasses.replace(figures, tables=tables)

  def _beside(self, table: Table) -> Table:
    columns: list[str] = []
    for name in table.columns:
      columns += [name, f'published {name}', f'{name} difference'][: 3 if self._has(name) else 1]

    def wider(ours: tuple[float, ...], theirs: tuple[float, ...]) -> tuple[float, ...]:
      values: list[float] = []
      for name, value in zip(table.columns, ours, strict=True):
        values.append(value)
        if self._has(name):
          published = theirs[self.columns.index(name)] / 100
          values += [published, value - published]
      return tuple(values)

    rows = {name: wider(values, self.rows[name]) for name, values in table.rows.items()}
    return Table(table.kind, tuple(columns), rows, wider(table.means, self.means))

  def _has(self, column: str) -> bool:
    return column in self.columns

  def to_json(self) -> dict[str, Any]:
    """Title, source and every figure, as fractions; None where there is none."""

    def fraction(value: float) -> float | None:
      return value / 100 if value == value else None

    by_class = {
      name: {row: fraction(values[i]) for row, values in self.rows.items()}
      for i, name in enumerate(self.columns)
    }
    means = {f'mean {x}': fraction(y) for x, y in zip(self.columns, self.means, strict=True)}
    return {'title': self.title, 'source': self.source, **means, **by_class}


PUBLISHED = {
  # The paper's table 7 has the same, rounded. The page has no iIoU of bicycles in what could be
  # read of it: it follows from the other seven and the mean of the eight.
  'cityscapes_test': Published(
    title='PSPNet on the test split of Cityscapes, trained on fine and coarse labels',
    source='https://cityscapes-dataset.com/method-details/?submissionID=314',
    columns=('IoU', 'iIoU'),
    rows={
      'road': (98.6397, _NONE),
      'sidewalk': (86.5767, _NONE),
      'building': (93.2157, _NONE),
      'wall': (58.0853, _NONE),
      'fence': (62.9588, _NONE),
      'pole': (64.5077, _NONE),
      'traffic light': (75.17, _NONE),
      'traffic sign': (79.2077, _NONE),
      'vegetation': (93.4372, _NONE),
      'terrain': (72.0806, _NONE),
      'sky': (95.0841, _NONE),
      'person': (86.3359, 67.9217),
      'rider': (71.3942, 48.934),
      'car': (96.0389, 89.9287),
      'truck': (73.5485, 40.4466),
      'bus': (90.4139, 53.9462),
      'train': (80.3452, 54.2206),
      'motorcycle': (69.9005, 47.9992),
      'bicycle': (76.8766, 61.706),
    },
    means=(80.2009, 58.1379),
  ),
}


def named(name: str) -> Published:
  """Those of PUBLISHED; UserError with the names there are, or the nearest one."""
  if name not in PUBLISHED:
    near = nearest(name, PUBLISHED)
    hint = f'did you mean {near}?' if near else f'there are {", ".join(PUBLISHED)}.'
    raise UserError(f'there are no published figures {name!r:.99}: {hint}')
  return PUBLISHED[name]
