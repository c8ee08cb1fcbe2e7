"""ADE20K's figures equal a transcription of the benchmark's evaluationCode."""

import numpy as np
import pytest

from pspnet_jax.data.known_classes import ADE20K
from pspnet_jax.evaluation.official import ade20k
from tests.evaluation.official.random_labels import counted, pairs_of

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


@pytest.mark.parametrize('last', [150, 120])  # with classes that nobody shows
def test_ade20k_equals_the_definition(last):
  pairs = list(pairs_of(np.arange(last + 1), np.arange(0, last + 1, 3)))
  accuracy, iou = ade20k_as_defined(pairs)
  figures = ade20k.figures(counted(pairs, 151))
  ours = figures.tables[0].column('IoU')
  assert list(ours) == list(ADE20K.class_names)
  np.testing.assert_allclose(list(ours.values()), iou, rtol=1e-12)
  expected = [accuracy, iou.mean(), (accuracy + iou.mean()) / 2]
  np.testing.assert_allclose(list(figures.summary.values()), expected, rtol=1e-12)
