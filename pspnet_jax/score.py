"""Official figures of a benchmark, from predictions and labels on disk.

  pspnet score --benchmark=cityscapes --predictions=DIR --labels=DIR --output=DIR

Predictions are PNG files as the benchmark's server takes them: ids 1-150 for ade20k, class ids for
voc2012, label ids for cityscapes; for what `predict` wrote give --ids=class. Files belong together
by their names, in whatever folders they lie; --list=FILE restricts both sides to the images named
there. The output folder gets scores.md and scores.csv.
"""

from __future__ import annotations

from absl import flags

from pspnet_jax import cli

FLAGS = flags.FLAGS


def define_flags() -> None:
  """Defines the command's flags; see `cli`."""
  from pspnet_jax.evaluation.official.benchmarks import BENCHMARKS
  from pspnet_jax.evaluation.published_figures import PUBLISHED

  flags.DEFINE_enum('benchmark', None, list(BENCHMARKS), 'Whose figures.', required=True)
  cli.define_path('predictions', None, 'The folder of the predictions.', required=True)
  cli.define_path('labels', None, "The folder of the benchmark's label files.", required=True)
  cli.define_path('list', None, 'A file that names the images to score, one a line.')
  flags.DEFINE_enum('ids', 'benchmark', ['benchmark', 'class'], 'What predictions hold.')
  cli.define_path('output', None, 'A folder for scores.md and scores.csv.')
  flags.DEFINE_enum('published', None, list(PUBLISHED), 'Published figures to stand beside these.')


if __name__ == '__main__':  # ahead of the imports: --help does not wait for JAX
  cli.start('score', __doc__, define_flags)

from pathlib import Path

import numpy as np

from pspnet_jax.evaluation import published_figures
from pspnet_jax.evaluation.figures import Figures, as_csv, as_markdown
from pspnet_jax.evaluation.official import ade20k, cityscapes, voc2012
from pspnet_jax.evaluation.official.benchmarks import BENCHMARKS, Benchmark, read_names
from pspnet_jax.evaluation.official.counting import Files, Ids, count, pair
from pspnet_jax.evaluation.official.counts import Counts
from pspnet_jax.reporting.reporter import Reporter
from pspnet_jax.runtime.files import write_together
from pspnet_jax.runtime.paths import given

FIGURES = {
  'ade20k': ade20k.figures,
  'voc2012': voc2012.figures,
  'cityscapes': cityscapes.figures,
}


def score(
  name: str,
  predictions: Path,
  labels: Path,
  *,
  list_file: Path | None = None,
  ids: Ids = 'benchmark',
  output: Path | None = None,
  published: str | None = None,
) -> Figures:
  """Prints the figures, and writes them to `output` if it is given.

  Args:
    name: the benchmark: 'ade20k', 'voc2012' or 'cityscapes'.
    predictions, labels: folders.
    list_file: the images to score, one a line; None: all.
    ids: what predictions hold; see `counting.count`.
    output: a folder for scores.md and scores.csv.
    published: which of `published_figures.PUBLISHED` are to stand beside them.

  Raises:
    UserError: for whatever the user can mend.
  """
  benchmark, predictions, labels = BENCHMARKS[name], given(predictions), given(labels)
  beside = None if published is None else published_figures.named(published)
  if beside is not None:
    beside.check(benchmark.spec.class_names)
  names = None if list_file is None else read_names(list_file, benchmark)
  paired = pair(benchmark, predictions, labels, names)
  with Reporter(None, total_steps=len(paired)) as report:
    report.say(f'{benchmark.title}: {len(paired):,} images')
    counts = count(benchmark, paired, ids=ids, on_progress=report.advance)
    figures = FIGURES[name](counts)
    if beside is not None:
      figures = beside.beside(figures)
    for table in figures.tables:
      report.table(table.heading, table.cells, footer=table.footer)
      report.say('')
    for note in _notes(benchmark, paired, counts, figures):
      report.say(note)
    if beside is not None:
      report.say(f'Published: {beside.title} ({beside.source}).')
    report.say('  '.join(f'{name} {_percent(value)}' for name, value in figures.summary.items()))
    if output is not None:
      title = f'{benchmark.title}, {len(paired):,} images'
      written = _write(output, figures, title)
      report.say(f'Figures: {", ".join(map(str, written))}')
  return figures


def _notes(
  benchmark: Benchmark, paired: list[Files], counts: Counts, figures: Figures
) -> list[str]:
  """What a reader of the figures should know."""
  notes = []
  splits = benchmark.splits
  if len(paired) not in splits.values():
    sizes = ', '.join(f'{count:,} ({split})' for split, count in splits.items())
    notes.append(f'Not a whole split: the benchmark has {sizes}.')
  others = np.setdiff1d(np.arange(benchmark.num_ids), benchmark.class_ids)
  labelled = counts.pixels[list(benchmark.class_ids)]
  if stray := int(labelled[:, others].sum()):
    example = others[labelled[:, others].any(0)][0]
    notes.append(
      f'{stray / labelled.sum():.2%} of the pixels are predicted as ids that are no class ('
      f'{example}, to begin with) and are wrong: if these are class ids from 0 on, as predict '
      'writes them, give --ids=class.'
    )
  if benchmark.label_ending == '_labelIds.png' and counts.instances is None:
    notes.append('No iIoU: *_instanceIds.png are not beside the labels.')
  if np.isnan(figures.summary.get('mean IoU', 0.0)):
    absent = [name for name, iou in figures.tables[0].column('IoU').items() if np.isnan(iou)]
    notes.append(
      f'No mean: neither labels nor predictions show {", ".join(absent)}, whose IoU is 0 / 0.'
    )
  return notes


def _percent(value: float) -> str:
  return '-' if np.isnan(value) else f'{100 * value:.2f} %'


def _write(output: Path, figures: Figures, title: str) -> list[Path]:
  texts = {'scores.md': as_markdown(figures, title), 'scores.csv': as_csv(figures)}
  write_together({output / name: text for name, text in texts.items()})
  return [output / name for name in texts]


def main() -> None:
  score(
    FLAGS.benchmark,
    Path(FLAGS.predictions),
    Path(FLAGS.labels),
    list_file=Path(FLAGS.list) if FLAGS.list else None,
    ids=FLAGS.ids,
    output=Path(FLAGS.output) if FLAGS.output else None,
    published=FLAGS.published,
  )
