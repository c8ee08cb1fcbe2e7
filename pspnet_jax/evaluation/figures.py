"""Figures of an evaluation as values, as Markdown and as CSV."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections.abc import Mapping

from pspnet_jax.reporting.console import Cell
from pspnet_jax.runtime.plain_text import in_csv, in_markdown


@dataclasses.dataclass(frozen=True)
class Table:
  """Figures of each class or category; fractions, NaN where there is nothing to measure."""

  kind: str  # 'class' or 'category'
  columns: tuple[str, ...]  # names of the figures
  rows: Mapping[str, tuple[float, ...]]  # figures by the name of the class or category
  means: tuple[float, ...]  # averaged as the benchmark does

  def column(self, name: str) -> dict[str, float]:
    """One figure by class."""
    at = self.columns.index(name)
    return {row: values[at] for row, values in self.rows.items()}

  @property
  def heading(self) -> list[str]:
    return [self.kind, *(f'{name} %' for name in self.columns)]

  @property
  def cells(self) -> list[list[Cell]]:
    """The rows of a table for people, in percent."""
    return [[name, *(100 * value for value in values)] for name, values in self.rows.items()]

  @property
  def footer(self) -> list[Cell]:
    return ['mean', *(100 * value for value in self.means)]


@dataclasses.dataclass(frozen=True)
class Figures:
  """What a benchmark reports: `summary` by name, and the tables behind it; fractions."""

  summary: Mapping[str, float]
  tables: tuple[Table, ...]


def as_markdown(figures: Figures, title: str) -> str:
  """Writes summary and tables under a title, in percent."""
  summary: list[list[Cell]] = [[name, 100 * value] for name, value in figures.summary.items()]
  parts = [f'# {in_markdown(title)}\n', _grid(['figure', '%'], summary)]
  parts += [_grid(table.heading, [*table.cells, table.footer]) for table in figures.tables]
  return '\n'.join(parts)


def as_csv(figures: Figures) -> str:
  """Writes lines `kind,name,figure,value` with every digit; an undefined value is empty."""
  text = io.StringIO()
  writer = csv.writer(text, lineterminator='\n')
  writer.writerow(['kind', 'name', 'figure', 'value'])
  for name, value in figures.summary.items():
    writer.writerow(['summary', '', name, _digits(value)])
  for table in figures.tables:
    for name, values in [*table.rows.items(), ('mean', table.means)]:
      for figure, value in zip(table.columns, values, strict=True):
        writer.writerow([table.kind, in_csv(name), figure, _digits(value)])
  return text.getvalue()


def _grid(heading: list[str], rows: list[list[Cell]]) -> str:
  lines = [heading, ['---', *['---:'] * (len(heading) - 1)]]
  lines += [[_percent(cell) for cell in row] for row in rows]
  return ''.join(f'| {" | ".join(line)} |\n' for line in lines)


def _percent(cell: Cell) -> str:
  if isinstance(cell, float):
    return '-' if math.isnan(cell) else f'{cell:.2f}'
  return in_markdown(str(cell))


def _digits(value: float) -> str:
  return '' if math.isnan(value) else repr(float(value))
