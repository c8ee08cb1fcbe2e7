"""Draws the validation score against time, of the kept figures that were evaluated on the way.

python -m benchmarks.figures --measure=camvid_long --seeds=0 --camvid=DIR --output=DIR   # 1.5 h
python -m benchmarks.curves [--plot=FILE.png]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import figures

Curve = Sequence[tuple[int, float, float]]  # steps, minutes, mIoU in percent


def curves() -> dict[str, dict[str, Curve]]:
  """The curves of each run's seeds."""
  found: dict[str, dict[str, Curve]] = {}
  for name, record in figures.load().items():
    for seed, of_seed in record['seeds'].items():
      if 'curve' in of_seed:
        found.setdefault(name, {})[seed] = of_seed['curve']
  return found


def markdown(name: str, of_seeds: Mapping[str, Curve]) -> str:
  """A table in Markdown: a row for each evaluation."""
  lines = ['| seed | steps | minutes | val mIoU % |', '|---|---:|---:|---:|']
  for seed, curve in of_seeds.items():
    lines += [f'| {seed} | {step:,} | {at:.1f} | {miou:.1f} |' for step, at, miou in curve]
  return f'**{name}**\n\n' + '\n'.join(lines)


def plot(path: Path) -> None:
  """Draws every curve in one panel."""
  from matplotlib import pyplot

  figure, panel = pyplot.subplots(figsize=(6.4, 3.6), layout='constrained')
  for name, of_seeds in curves().items():
    for seed, curve in of_seeds.items():
      _, minutes, miou = zip(*curve, strict=True)
      panel.plot(minutes, miou, 'o-', markersize=4, label=f'{name}, seed {seed}')
      panel.annotate(
        f'{miou[-1]:.1f}', (minutes[-1], miou[-1]), xytext=(6, 0), textcoords='offset points'
      )
  panel.margins(y=0.2)
  panel.set(xlabel='minutes', ylabel='val mIoU %', xlim=(0, None), ylim=(0, None))
  panel.spines[['top', 'right']].set_visible(False)
  panel.grid(axis='y', alpha=0.3)
  panel.legend(frameon=False, loc='lower right')
  figure.savefig(path, dpi=120)


def main() -> None:
  """Parses the command line, prints the tables and draws the plot."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--plot', type=Path)
  flags = parser.parse_args()
  if not (found := curves()):
    sys.exit('no run was evaluated on the way: python -m benchmarks.figures --measure=camvid_long')
  print('\n\n'.join(markdown(*of_run) for of_run in found.items()))
  if flags.plot:
    plot(flags.plot)


if __name__ == '__main__':
  main()
