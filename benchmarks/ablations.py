"""Compares the rows of configs/context_ablations.py with the paper's tables, and draws both.

python -m benchmarks.figures --measure=context_ablations --output=DIR     # an hour on two cores
python -m benchmarks.ablations [--plot=FILE.png]
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean

from benchmarks import figures

# Rows with the paper's mIoU on ADE20K (ResNet-50, tables 1 and 2), in its order; None: none there.
TABLES: dict[str, dict[str, float | None]] = {
  'Table 1: pooling, bins, dimension reduction (DR)': {
    'baseline': 37.23,
    'b1-max': 39.94,
    'b1-avg': 40.07,
    'b1236-max': 40.18,
    'b1236-avg': 41.07,
    'b1236-max-dr': 40.87,
    'b1236-avg-dr': 41.68,
  },
  'Table 2: weight of the auxiliary loss, without a pyramid': {
    'aux-0': 35.82,
    'aux-0.3': 37.01,
    'baseline': 37.23,
    'aux-0.6': 37.09,
    'aux-0.9': 36.99,
  },
  'Output stride': {'b1236-avg-dr': None, 'stride-16': None, 'stride-32': None},
}


def scores(key: str = 'mIoU') -> dict[str, list[float]]:
  """The figures of each row's seeds, in percent."""
  kept, prefix = figures.load(), 'context_ablations:'
  return {
    name.removeprefix(prefix): [seed[key] for seed in record['seeds'].values()]
    for name, record in kept.items()
    if name.startswith(prefix)
  }


def order(ours: Mapping[str, Sequence[float]], published: Mapping[str, float]) -> dict[str, int]:
  """Counts the pairs of rows whose published order our means have, and those they reverse.

  A pair is clear if every seed of the one is above every seed of the other.
  """
  counts = dict.fromkeys(('as published', 'clearly', 'reversed', 'clearly reversed'), 0)
  for worse, better in itertools.combinations(sorted(published, key=published.__getitem__), 2):
    agrees = mean(ours[better]) > mean(ours[worse])
    low, high = (worse, better) if agrees else (better, worse)
    counts['as published' if agrees else 'reversed'] += 1
    if min(ours[high]) > max(ours[low]):
      counts['clearly' if agrees else 'clearly reversed'] += 1
  return counts


def tables() -> str:
  """All tables in Markdown, each with what became of the published order."""
  miou, accuracy = scores(), scores('aAcc')
  parts = []
  for title, rows in TABLES.items():
    lines = [f'**{title}**', '']
    lines += ['| row | published mIoU | ours, mean | seeds | pixel accuracy |']
    lines += ['|---|---:|---:|---|---:|']
    for row, published in rows.items():
      seeds = ', '.join(f'{value:.2f}' for value in miou[row])
      told = '' if published is None else f'{published:.2f}'
      cells = (row, told, f'{mean(miou[row]):.2f}', seeds, f'{mean(accuracy[row]):.2f}')
      lines.append(f'| {" | ".join(cells)} |')
    known = {row: value for row, value in rows.items() if value is not None}
    if known:
      n = order(miou, known)
      lines += [
        '',
        f'Of {sum(n[k] for k in ("as published", "reversed"))} pairs of rows, {n["as published"]} '
        f'are in the published order ({n["clearly"]} with all seeds), {n["reversed"]} reversed '
        f'({n["clearly reversed"]} with all seeds).',
      ]
    parts.append('\n'.join(lines))
  return '\n\n'.join(parts)


def plot(path: Path) -> None:
  """Draws each seed as a dot and each mean as a line, a panel a table."""
  from matplotlib import pyplot

  miou = scores()
  figure, panels = pyplot.subplots(
    1,
    len(TABLES),
    figsize=(10, 3.4),
    layout='constrained',
    gridspec_kw={'width_ratios': [len(rows) for rows in TABLES.values()]},
  )
  for panel, (title, rows) in zip(panels, TABLES.items(), strict=True):
    for x, row in enumerate(rows):
      panel.plot([x] * len(miou[row]), miou[row], 'o', color='C0', alpha=0.6, markersize=5)
      panel.plot([x - 0.3, x + 0.3], [mean(miou[row])] * 2, color='C0', linewidth=2)
    panel.set_xticks(range(len(rows)), list(rows), rotation=40, ha='right', fontsize=8)
    panel.set_title(title.partition(':')[0], fontsize=10)
    panel.spines[['top', 'right']].set_visible(False)
    known = [(x, value) for x, value in enumerate(rows.values()) if value is not None]
    if known:
      twin = panel.twinx()
      twin.plot(*zip(*known, strict=True), 'x', color='C3', markersize=6)
      twin.spines[['top']].set_visible(False)
      twin.tick_params(colors='C3', labelsize=8)
  panels[0].set_ylabel('mIoU %, three seeds and their mean')
  panels[0].plot([], [], 'x', color='C3', label='the paper on ADE20K (right axis)')
  panels[0].legend(frameon=False, fontsize=8, loc='lower right')
  figure.savefig(path, dpi=120)


def main() -> None:
  """Parses the command line, prints the tables and draws the plot."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--plot', type=Path)
  flags = parser.parse_args()
  print(tables())
  if flags.plot:
    plot(flags.plot)


if __name__ == '__main__':
  main()
