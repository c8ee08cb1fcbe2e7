"""ADE20K's and VOC's figures equal transcriptions of their definitions, and are written exactly."""

import csv
import io
import math

import numpy as np
import pytest

from pspnet_jax.data.known_classes import ADE20K, VOC2012
from pspnet_jax.evaluation.figures import Figures, Table, as_csv, as_markdown
from pspnet_jax.evaluation.official import ade20k, voc2012
from pspnet_jax.evaluation.official.counts import Counts, count_pixels

EPS = np.finfo(np.float64).eps


def ade20k_as_defined(pairs):
  """demoEvaluation.m with intersectionAndUnion.m and pixelAccuracy.m, image by image."""
  intersections, unions, correct, labelled = [], [], 0, 0
  for label, prediction in pairs:
    masked = prediction * (label > 0)
    same = masked * (masked == label)
    histogram = [np.bincount(x.ravel(), minlength=151)[1:] for x in (same, masked, label)]
    intersections.append(histogram[0])
    unions.append(histogram[1] + histogram[2] - histogram[0])
    correct += ((prediction == label) & (label > 0)).sum()
    labelled += (label > 0).sum()
  iou = np.sum(intersections, 0) / np.sum([EPS + union for union in unions], 0)
  return correct / labelled, iou


def voc_as_defined(pairs):
  """VOCevalseg.m: the joint histogram of the pixels below 255, and its ratios."""
  confusion = np.zeros((21, 21))
  for label, prediction in pairs:
    at = label < 255
    np.add.at(confusion, (label[at], prediction[at]), 1)
  ious = []
  for j in range(21):
    union = confusion[j, :].sum() + confusion[:, j].sum() - confusion[j, j]
    ious.append(confusion[j, j] / union if union else math.nan)
  return np.array(ious)


def fabricated(label_ids, predicted_ids, images=3):
  """Predictions right in two thirds of the pixels; images of different sizes."""
  rng = np.random.default_rng(0)
  for size in range(40, 40 + images):
    label = rng.choice(label_ids, (size, 33))
    right = (rng.random(label.shape) < 2 / 3) & np.isin(label, predicted_ids)
    yield label, np.where(right, label, rng.choice(predicted_ids, label.shape))


def counted(pairs, num_ids):
  totals = [count_pixels(y.astype(np.uint8), x.astype(np.uint8), num_ids) for y, x in pairs]
  return Counts(np.sum(totals, 0))


@pytest.mark.parametrize('last', [150, 120])  # with classes that nobody shows
def test_ade20k_equals_the_definition(last):
  pairs = list(fabricated(np.arange(last + 1), np.arange(0, last + 1, 3)))
  accuracy, iou = ade20k_as_defined(pairs)
  figures = ade20k.figures(counted(pairs, 151))
  ours = figures.tables[0].column('IoU')
  assert list(ours) == list(ADE20K.class_names)
  np.testing.assert_allclose(list(ours.values()), iou, rtol=1e-12)
  expected = [accuracy, iou.mean(), (accuracy + iou.mean()) / 2]
  np.testing.assert_allclose(list(figures.summary.values()), expected, rtol=1e-12)


def test_voc_equals_the_definition():
  pairs = list(fabricated(np.array([*range(21), 255]), np.arange(21)))
  iou = voc_as_defined(pairs)
  figures = voc2012.figures(counted(pairs, 21))
  ours = figures.tables[0].column('IoU')
  assert list(ours) == list(VOC2012.class_names)
  np.testing.assert_allclose(list(ours.values()), iou, rtol=1e-12)
  assert figures.summary['mean IoU'] == pytest.approx(iou.mean(), rel=1e-12)


def test_voc_has_no_mean_where_a_class_is_absent():
  figures = voc2012.figures(counted(fabricated(np.arange(20), np.arange(20)), 21))
  assert math.isnan(figures.tables[0].column('IoU')['tvmonitor'])
  assert math.isnan(figures.summary['mean IoU'])


def test_voc_border_counts_for_nothing():
  label = np.array([[0, 255], [15, 255]])
  right, other = np.array([[0, 3], [15, 15]]), np.array([[0, 0], [15, 7]])
  [a, b] = (counted([(label, x)], 21).pixels for x in (right, other))
  np.testing.assert_array_equal(a, b)
  assert a.sum() == 2


TABLE = Table('class', ('IoU', 'iIoU'), {'a, b': (1 / 3, math.nan), 'c': (0.5, 1.0)}, (5 / 12, 1.0))


def test_csv_keeps_every_digit():
  rows = list(csv.reader(io.StringIO(as_csv(Figures({'mean IoU': 5 / 12}, (TABLE,))))))
  assert rows[0] == ['kind', 'name', 'figure', 'value']
  assert ['summary', '', 'mean IoU', repr(5 / 12)] in rows
  assert ['class', 'a, b', 'IoU', repr(1 / 3)] in rows
  assert ['class', 'a, b', 'iIoU', ''] in rows
  assert ['class', 'mean', 'IoU', repr(5 / 12)] in rows


def test_markdown_is_a_table_in_percent():
  text = as_markdown(Figures({'mean IoU': 5 / 12}, (TABLE,)), 'Cityscapes')
  assert text.startswith('# Cityscapes\n\n| figure | % |\n| --- | ---: |\n| mean IoU | 41.67 |\n')
  assert '| class | IoU % | iIoU % |\n| --- | ---: | ---: |\n| a, b | 33.33 | - |\n' in text
  assert text.endswith('| mean | 41.67 | 100.00 |\n')
