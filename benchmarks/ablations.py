"""Compares the rows of configs/context_ablations.py with the paper's tables, and draws both.

python -m benchmarks.figures --measure=context_ablations --output=DIR     # an hour on two cores
python -m benchmarks.ablations [--plot=FILE.png]
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks import figures
from pspnet_jax.config import python_file

PREFIX = 'context_ablations:'
TITLES = {
  'table1': 'Table 1: pooling, bins, dimension reduction (DR)',
  'table2': 'Table 2: weight of the auxiliary loss, without a pyramid',
  'stride': 'Output stride',
}
SAME = {'table2-0.4': 'table1-baseline', 'stride-8': 'table1-b1236-ave-dr'}  # trained once


def rows(table: str) -> dict[str, dict[str, Any]]:
  """What the config says of the rows of a table."""
  found = python_file.rows(PREFIX.rstrip(':'))
  return {row: of_row for row, of_row in found.items() if row.startswith(table)}


def measured() -> list[str]:
  """The tables of which every row was measured."""
  kept = figures.load()
  return [t for t in TITLES if all(PREFIX + SAME.get(row, row) in kept for row in rows(t))]


def published(table: str) -> dict[str, float]:
  """The paper's mIoU of each row, on ADE20K with 50 layers; empty for what it has not tried."""
  return {row: of_row['ss'][0] for row, of_row in rows(table).items() if 'ss' in of_row}


def scores(table: str, key: str = 'mIoU') -> dict[str, list[float]]:
  """The figures of each row's seeds, in percent."""
  kept = figures.load()
  records = {row: kept[PREFIX + SAME.get(row, row)] for row in rows(table)}
  return {row: [seed[key] for seed in r['seeds'].values()] for row, r in records.items()}


def order(ours: Mapping[str, Sequence[float]], theirs: Mapping[str, float]) -> dict[str, int]:
  """Counts the pairs of rows whose published order our means have, and those they reverse.

  A pair is clear if every seed of the one is above every seed of the other.
  """
  counts = dict.fromkeys(('as published', 'clearly', 'reversed', 'clearly reversed'), 0)
  for worse, better in itertools.combinations(sorted(theirs, key=theirs.__getitem__), 2):
    agrees = mean(ours[better]) > mean(ours[worse])
    low, high = (worse, better) if agrees else (better, worse)
    counts['as published' if agrees else 'reversed'] += 1
    if min(ours[high]) > max(ours[low]):
      counts['clearly' if agrees else 'clearly reversed'] += 1
  return counts


def markdown(table: str) -> str:
  """A table in Markdown, with what became of the published order."""
  miou, accuracy, theirs = scores(table), scores(table, 'aAcc'), published(table)
  lines = [
    f'**{TITLES[table]}**\n',
    '| row | the paper | ours, mean | seeds 0, 1, 2 | pixel accuracy |',
    '|---|---:|---:|---|---:|',
  ]
  for row, of_row in rows(table).items():
    seeds = ', '.join(f'{value:.1f}' for value in miou[row])
    told = f'{theirs[row]:.2f}' if row in theirs else ''
    cells = (of_row['title'], told, f'**{mean(miou[row]):.1f}**', seeds)
    lines.append(f'| {" | ".join(cells)} | {mean(accuracy[row]):.1f} |')
  if theirs:
    n = order(miou, theirs)
    lines.append(
      f"\nIn the paper's order: {n['as published']} of {n['as published'] + n['reversed']} pairs "
      f'of rows ({n["clearly"]} with every seed); reversed: {n["reversed"]} '
      f'({n["clearly reversed"]} with every seed).'
    )
  return '\n'.join(lines)


def plot(path: Path) -> None:
  """Draws each seed as a dot and each mean as a line, a panel a table, the paper beside them."""
  from matplotlib import pyplot

  tables = measured()
  ratios = [len(rows(table)) for table in tables]
  figure, panels = pyplot.subplots(
    1,
    len(tables),
    figsize=(0.7 * sum(ratios), 3.6),
    layout='constrained',
    gridspec_kw={'width_ratios': ratios},
    squeeze=False,
  )
  for panel, table in zip(panels[0], tables, strict=True):
    for x, values in enumerate(scores(table).values()):
      panel.plot([x] * len(values), values, 'o', color='C0', alpha=0.6, markersize=5)
      panel.plot([x - 0.3, x + 0.3], [mean(values)] * 2, color='C0', linewidth=2)
    titles = [of_row['title'].removeprefix('auxiliary weight ') for of_row in rows(table).values()]
    titles = [title.removeprefix('output stride ') for title in titles]
    panel.set_xticks(range(len(titles)), titles, rotation=40, ha='right', fontsize=8)
    panel.set_title(TITLES[table].partition(':')[0], fontsize=10)
    panel.spines[['top', 'right']].set_visible(False)
    if theirs := published(table):
      axis = panel.twinx()
      axis.plot(range(len(theirs)), list(theirs.values()), 'x', color='C3', markersize=6)
      axis.spines['top'].set_visible(False)
      axis.tick_params(colors='C3', labelsize=8)
  panels[0][0].set_ylabel('mIoU %: seeds and their mean')
  panels[0][0].plot([], [], 'x', color='C3', label='the paper on ADE20K, right axis')
  panels[0][0].legend(frameon=False, fontsize=8, loc='lower right')
  figure.savefig(path, dpi=120)


def main() -> None:
  """Parses the command line, prints the tables and draws the plot."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--plot', type=Path)
  flags = parser.parse_args()
  if not (tables := measured()):
    sys.exit(
      f'no table was measured whole: python -m benchmarks.figures --measure={PREFIX} --output=DIR'
    )
  print('\n\n'.join(map(markdown, tables)))
  if flags.plot:
    plot(flags.plot)


if __name__ == '__main__':
  main()
