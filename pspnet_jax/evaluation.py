"""Scores of a network on a labelled data source."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import jax
import numpy as np

from pspnet_jax import parallel
from pspnet_jax.console import Cell
from pspnet_jax.data.loader import in_order
from pspnet_jax.data.spec import IGNORE_LABEL, DatasetSpec, Example, Source
from pspnet_jax.errors import UserError
from pspnet_jax.inference import Inference
from pspnet_jax.metrics import Confusion, Scores
from pspnet_jax.models.network import Arrays

_log = logging.getLogger(__name__)
OnLabel = Callable[[int, Example, np.ndarray], None]  # index, example, predicted label uint8 [H, W]


def confusion_matrix(
  inference: Inference,
  params: Arrays,
  batch_stats: Arrays,
  source: Source,
  *,
  threads: int | None = None,
  on_label: OnLabel | None = None,
  pictures: int | None = None,
  on_progress: Callable[[int], None] | None = None,
  skip_bad: bool = False,
) -> np.ndarray:
  """Counts every pixel of every example exactly once, over all processes.

  Each process takes its share of the examples and counts on its own devices; only the sums meet.

  Args:
    inference: how images become labels.
    params, batch_stats: of the network.
    source: what is evaluated.
    threads: that read; see `loader.in_order`.
    on_label: called with predictions of this process, on the host, in order.
    pictures: for how many examples, evenly spread over the source; None: all.
    on_progress: called with the number of examples this process has done.
    skip_bad: leave out examples that cannot be used; a warning names each, and one says how many
      of all processes' there were.

  Returns:
    int64 [C, C], rows are labels.

  Raises:
    UserError: what the source raises, without `skip_bad`; with it, if no example is left.
  """
  num_classes = source.spec.num_classes
  count = len(source) if pictures is None else min(pictures, len(source))
  wanted = {i * len(source) // count for i in range(count)}
  confusion = Confusion.zeros(num_classes)

  share = range(jax.process_index(), len(source), jax.process_count())

  left_out = 0

  def read(index: int) -> Example | UserError:
    try:
      return source[index]
    except UserError as e:
      if not skip_bad:
        raise
      return e

  def images() -> Iterator[tuple[tuple[int, Example], np.ndarray]]:
    nonlocal left_out
    for index, example in zip(share, in_order(read, share, threads=threads), strict=True):
      if isinstance(example, UserError):
        left_out += 1
        _log.warning('Left out of the evaluation: %s', example)
        continue
      yield (index, example), example['image']

  stream = inference.labels(params, batch_stats, images())
  for done, ((index, example), prediction) in enumerate(stream, 1):
    height, width = example['label'].shape
    label = np.full(prediction.shape, IGNORE_LABEL, np.uint8)  # canvas beyond the image is ignored
    label[:height, :width] = example['label']
    confusion = _add(confusion, label, prediction)
    if on_label is not None and index in wanted:
      on_label(index, example, np.asarray(prediction, np.uint8)[:height, :width])
    if on_progress is not None:
      on_progress(done)
  total = parallel.sum_over_processes(confusion.compute())
  if skip_bad:
    missing = int(parallel.sum_over_processes(np.array([left_out], np.int64))[0])
    if missing == len(source):
      raise UserError(f'none of the {missing} examples to evaluate can be used: mend the data.')
    if missing:
      _log.warning('%d of %d examples are left out of the evaluation.', missing, len(source))
  return total


@jax.jit
def _add(total: Confusion, label: jax.Array, prediction: jax.Array) -> Confusion:
  return total.merge(Confusion.count(label, prediction, total.low.shape[0]))


COLUMNS = ('class', 'IoU %', 'accuracy %', 'pixels %')


def table(scores: Scores, spec: DatasetSpec) -> tuple[list[list[Cell]], list[Cell]]:
  """Rows of `COLUMNS` for every class, and the row of the means."""
  share = scores.label_pixels / max(scores.label_pixels.sum(), 1)
  columns = (spec.class_names, 100 * scores.iou, 100 * scores.accuracy, 100 * share)
  rows: list[list[Cell]] = [
    [name, float(iou), float(accuracy), float(pixels)]
    for name, iou, accuracy, pixels in zip(*columns, strict=True)
  ]
  return rows, ['mean', 100 * scores.miou, 100 * scores.macc, None]


def summary(scores: Scores) -> str:
  """One line with the means and the convention they follow."""
  absent = int(np.isnan(scores.iou).sum())
  convention = {'exclude': 'left out of the means', 'zero': 'counted as 0'}[scores.absent_classes]
  return (
    f'mIoU {scores.miou:.4f}  mAcc {scores.macc:.4f}  aAcc {scores.aacc:.4f}  '
    f'(absent classes are {convention}: {absent} here)'
  )
