"""Each process evaluates its share of the examples, and together they count each once."""

import dataclasses

import jax
import numpy as np
import pytest

from pspnet_jax.data.palettes import default_palette
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.evaluation import scoring
from pspnet_jax.evaluation.metrics import Scores
from pspnet_jax.evaluation.scoring import figures_of, summary
from pspnet_jax.inference.on_device import Sums
from pspnet_jax.runtime import parallel

CLASSES = 4
SPEC = DatasetSpec(tuple('abcde'), default_palette(5))


class Recorded:
  """Random labels, and which of them were read."""

  spec = DatasetSpec(tuple('abcd'), default_palette(CLASSES))

  def __init__(self, length):
    self.labels = np.random.default_rng(0).integers(0, CLASSES, (length, 3, 5)).astype(np.uint8)
    self.read = []

  def __len__(self):
    return len(self.labels)

  def __getitem__(self, index):
    self.read.append(index)
    label = self.labels[index]
    return {'image': np.stack([label] * 3, -1), 'label': label, 'name': str(index)}


class Guess:
  """Stands for an `Inference`: answers one class more than the label has."""

  def labels(self, weights, images, on_scores=None):
    for tag, image in images:
      yield tag, (image[..., 0].astype(np.int32) + 1) % CLASSES


@pytest.mark.parametrize(
  ('length', 'processes'), [(500, 1), (500, 4), (101, 2), (101, 8), (3, 4), (7, 3)]
)
def test_every_example_is_read_and_counted_once(monkeypatch, length, processes):
  monkeypatch.setattr(jax, 'process_count', lambda: processes)
  monkeypatch.setattr(parallel, 'sum_over_processes', lambda array: array)
  total, read, sizes = np.zeros((CLASSES, CLASSES), np.int64), [], []
  for process in range(processes):
    monkeypatch.setattr(jax, 'process_index', lambda process=process: process)
    source = Recorded(length)
    total += scoring.confusion_matrix(Guess(), ({}, {}), source, threads=2)
    read += source.read
    sizes.append(len(source.read))
  assert sorted(read) == list(range(length))
  assert max(sizes) - min(sizes) <= 1
  pixels = np.bincount(source.labels.ravel(), minlength=CLASSES)
  np.testing.assert_array_equal(total, np.roll(np.diag(pixels), 1, axis=1))


def test_table_and_summary_name_the_convention():
  scores = Scores(np.diag([3, 1, 0, 2, 4]).astype(np.int64), 'zero')
  [table] = figures_of(scores, SPEC).tables
  assert [row[0] for row in table.cells] == list('abcde')
  assert table.footer[1] == pytest.approx(80)
  assert 'counted as 0: 1 here' in summary(scores)
  excluded = summary(dataclasses.replace(scores, absent_classes='exclude'))
  assert 'mIoU 1.0000' in excluded and 'left out of the means: 1 here' in excluded


def test_losses_add_up_over_processes_and_what_is_not_finite_is_nan(monkeypatch):
  monkeypatch.setattr(parallel, 'sum_over_processes', lambda array: 2 * array)
  loss = scoring.PixelLoss()
  sums = Sums(np.log(np.float32([[[1, 3], [1, 1]]])), views=1, logits=True)
  loss.add(np.uint8([[1]]), sums)  # the second pixel is beyond the label
  loss.add(np.uint8([[255, 0]]), sums)
  assert loss.total() == pytest.approx(2 * (np.log(4 / 3) + np.log(2)), abs=2e-6)
  impossible = Sums(np.float32([[[1, 0], [1, 0]]]), views=1, logits=False)
  loss.add(np.uint8([[1]]), impossible)
  assert loss.total() == pytest.approx(2 * (np.log(8 / 3) + 126 * np.log(2)))
  loss.add(np.uint8([[1]]), Sums(np.full((1, 1, 2), np.nan, np.float32), views=1, logits=False))
  assert np.isnan(loss.total())
