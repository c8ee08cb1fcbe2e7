"""PASCAL VOC's figures equal a transcription of VOCevalseg.m."""

import math

import numpy as np
import pytest

from pspnet_jax.data.known_classes import VOC2012
from pspnet_jax.evaluation.official import voc2012
from tests.evaluation.official.random_labels import counted, pairs_of


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


def test_voc_equals_the_definition():
  pairs = list(pairs_of(np.array([*range(21), 255]), np.arange(21)))
  iou = voc_as_defined(pairs)
  figures = voc2012.figures(counted(pairs, 21))
  ours = figures.tables[0].column('IoU')
  assert list(ours) == list(VOC2012.class_names)
  np.testing.assert_allclose(list(ours.values()), iou, rtol=1e-12)
  assert figures.summary['mean IoU'] == pytest.approx(iou.mean(), rel=1e-12)


def test_voc_has_no_mean_where_a_class_is_absent():
  figures = voc2012.figures(counted(pairs_of(np.arange(20), np.arange(20)), 21))
  assert math.isnan(figures.tables[0].column('IoU')['tvmonitor'])
  assert math.isnan(figures.summary['mean IoU'])
