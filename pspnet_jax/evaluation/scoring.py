"""Scores a network on a labelled data source."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from pspnet_jax.data.in_order import in_order
from pspnet_jax.data.spec import IGNORE_LABEL, DatasetSpec, Example, Source
from pspnet_jax.errors import UserError
from pspnet_jax.evaluation.figures import Figures, Table
from pspnet_jax.evaluation.metrics import Confusion, Scores
from pspnet_jax.evaluation.partial_scores import PartialScores
from pspnet_jax.inference.ensemble import Labeller
from pspnet_jax.inference.on_device import Sums, sum_losses
from pspnet_jax.inference.tiled import Tile
from pspnet_jax.runtime import parallel

_log = logging.getLogger(__name__)
OnLabel = Callable[[int, Example, np.ndarray], None]  # index, example, predicted label uint8 [H, W]
_SAVE_EVERY = 30  # seconds
_Weights = TypeVar('_Weights')


def confusion_matrix(
  inference: Labeller[_Weights],
  weights: _Weights,
  source: Source,
  *,
  threads: int | None = None,
  on_label: OnLabel | None = None,
  pictures: int | None = None,
  on_progress: Callable[[int], None] | None = None,
  skip_bad: bool = False,
  partial: PartialScores | None = None,
  loss: PixelLoss | None = None,
) -> np.ndarray:
  """Counts every pixel of every example exactly once, over all processes.

  Each process takes its share of the examples and counts on its own devices; only the sums meet.

  Args:
    inference: how images become labels: an `Inference` or an `Ensemble`.
    weights: from `Inference.prepare`, of an ensemble's each member.
    source: what is evaluated.
    threads: how many read; see `in_order`.
    on_label: called with predictions of this process, on the host, in order.
    pictures: how many examples `on_label` gets, evenly spread over the source; None: all.
    on_progress: called with the number of examples this process has done.
    skip_bad: leave out examples that cannot be used; a warning names each, and one says how many
      of all processes' there were.
    partial: what this process has counted before and need not count again; it is brought up to
      date on disk twice a minute and whenever this ends.
    loss: gets the losses of all pixels, from the same pass; not kept in `partial`.

  Returns:
    int64 [C, C], rows are labels.

  Raises:
    UserError: what the source raises, without `skip_bad`; with it, if no example is left.
  """
  wanted = set(spread(len(source), pictures))
  share = range(jax.process_index(), len(source), jax.process_count())
  before = 0 if partial is None else partial.done
  left_out: set[int] = set() if partial is None else partial.left_out
  count = _Count(source.spec.num_classes, partial)

  def read(index: int) -> Example | UserError:
    try:
      return source[index]
    except UserError as e:
      if not skip_bad:
        raise
      return e

  def images() -> Iterator[tuple[tuple[int, int, Example], np.ndarray]]:
    rest = share[before:]
    examples = in_order(read, rest, threads=threads)
    for done, (index, example) in enumerate(zip(rest, examples, strict=True), before + 1):
      if isinstance(example, UserError):
        left_out.add(index)
        _log.warning('Left out of the evaluation: %s', example)
        continue
      yield (done, index, example), example['image']

  def add_losses(tile: Tile, sums: Sums) -> None:
    if loss is not None:
      loss.add(tile.tag[-1]['label'][tile.region], sums)

  on_scores = None if loss is None else add_losses
  with parallel.stopping_together(), contextlib.ExitStack() as ends:
    ends.callback(count.keep)
    for (done, index, example), prediction in inference.labels(weights, images(), on_scores):
      height, width = example['label'].shape
      label = np.full(prediction.shape, IGNORE_LABEL, np.uint8)  # beyond the image: ignored
      label[:height, :width] = example['label']
      count.add(done, index, label, prediction)
      if on_label is not None and index in wanted:
        on_label(index, example, np.asarray(prediction)[:height, :width])
      if on_progress is not None:
        on_progress(done)
  total = parallel.sum_over_processes(count.result())
  if skip_bad:
    missing = int(parallel.sum_over_processes(np.array([len(left_out)], np.int64))[0])
    if missing == len(source):
      raise UserError(f'none of the {missing} examples to evaluate can be used: mend the data.')
    if missing:
      _log.warning('%d of %d examples are left out of the evaluation.', missing, len(source))
  return total


def check_labelled(counts: np.ndarray, length: int) -> None:
  """Raises UserError if nothing was counted in as many labels: there is nothing to score by."""
  if not counts.any():
    raise UserError(
      f'no pixel of the {length:,} labels to evaluate has a class, all are 255 or among '
      'ignore_ids: look at them with `pspnet doctor`, or name the right files.'
    )


def spread(length: int, count: int | None) -> list[int]:
  """Picks `count` indices (None: all), evenly spread."""
  count = length if count is None else min(count, length)
  return [i * length // count for i in range(count)]


class PixelLoss:
  """Adds up -log of the probability that is predicted for the class of each labelled pixel.

  Divided by the number of those pixels it is the mean cross-entropy of what is predicted: of the
  mean of the views, where a protocol has several. The sums stay on the device until the end.
  """

  def __init__(self) -> None:
    self._sums: list[jax.Array] = []

  def add(self, label: np.ndarray, sums: Sums) -> None:
    """Adds the losses of a tile, whose label is uint8 [H, W]."""
    self._sums.append(sum_losses(sums, label))

  def total(self) -> float:
    """Returns the sum over all processes, which call it together; NaN if it is not finite."""
    own = math.fsum(map(float, self._sums))
    finite = math.isfinite(own)
    # Whole numbers are what travels between processes without loss: units of a millionth.
    found = np.array([round(own * 1e6) if finite else 0, not finite], np.int64)
    millionths, broken = parallel.sum_over_processes(found)
    return math.nan if broken else float(millionths) / 1e6


class _Count:
  """Counts on the device, and brings the counts to the host now and then."""

  def __init__(self, num_classes: int, partial: PartialScores | None):
    self._partial, self._saved = partial, time.monotonic()
    self._zeros = self._confusion = Confusion.zeros(num_classes)
    self._image_iou: dict[int, jax.Array] = {}
    self._done = 0

  def add(
    self, done: int, index: int, label: np.ndarray, prediction: jax.Array | np.ndarray
  ) -> None:
    self._confusion, iou = _add(self._confusion, label, prediction)
    if self._partial is not None:
      self._image_iou[index], self._done = iou, done
      if time.monotonic() > self._saved + _SAVE_EVERY:
        self.keep()

  def keep(self) -> None:
    """Adds to what is kept on disk, if anything new was counted."""
    if self._partial is not None and self._image_iou:
      self._partial.confusion = self._partial.confusion + self._confusion.compute()
      self._partial.image_iou |= {i: float(iou) for i, iou in self._image_iou.items()}
      self._partial.done = self._done
      self._partial.save()
      self._confusion, self._image_iou = self._zeros, {}
    self._saved = time.monotonic()

  def result(self) -> np.ndarray:
    return self._confusion.compute() if self._partial is None else self._partial.confusion


@jax.jit
def _add(total: Confusion, label: jax.Array, prediction: jax.Array) -> tuple[Confusion, jax.Array]:
  """Adds an image's counts; returns its mean IoU over the classes its label shows, too."""
  counts = Confusion.count(label, prediction, total.low.shape[0])
  pixels = counts.low.astype(jnp.float32)
  right, labelled = jnp.diag(pixels), pixels.sum(1)
  iou = right / (labelled + pixels.sum(0) - right)
  return total.merge(counts), jnp.mean(iou, where=labelled > 0)


def label_examples(
  inference: Labeller[_Weights], weights: _Weights, source: Source, indices: list[int]
) -> Iterator[tuple[Example, np.ndarray]]:
  """Yields some examples with their predicted labels, uint8 [H, W]."""
  examples = ((example, example['image']) for example in map(source.__getitem__, indices))
  for example, label in inference.labels(weights, examples):
    height, width = example['label'].shape
    yield example, np.asarray(label)[:height, :width]


def figures_of(scores: Scores, spec: DatasetSpec) -> Figures:
  """Puts the scores into a table of classes, in fractions."""
  share = scores.label_pixels / max(scores.label_pixels.sum(), 1)
  columns = zip(scores.iou, scores.accuracy, share, strict=True)
  rows = {
    name: (float(iou), float(accuracy), float(pixels))
    for name, (iou, accuracy, pixels) in zip(spec.class_names, columns, strict=True)
  }
  means = (scores.miou, scores.macc, float('nan'))
  table = Table('class', ('IoU', 'accuracy', 'pixels'), rows, means)
  summary = {'mIoU': scores.miou, 'mAcc': scores.macc, 'aAcc': scores.aacc}
  return Figures(summary, (table,))


def summary(scores: Scores) -> str:
  """One line with the means and the convention they follow."""
  absent = int(np.isnan(scores.iou).sum())
  convention = {'exclude': 'left out of the means', 'zero': 'counted as 0'}[scores.absent_classes]
  return (
    f'mIoU {scores.miou:.4f}  mAcc {scores.macc:.4f}  aAcc {scores.aacc:.4f}  '
    f'(absent classes are {convention}: {absent} here)'
  )
