"""Cityscapes' figures equal those of cityscapesScripts."""

import json
import math

import numpy as np
import pytest

from pspnet_jax.evaluation.official import cityscapes
from pspnet_jax.evaluation.official.benchmarks import BENCHMARKS
from pspnet_jax.evaluation.official.counting import count, pair
from pspnet_jax.evaluation.official.counts import Counts, count_pixels
from tests.evaluation.official import fabricated

CITYSCAPES = BENCHMARKS['cityscapes']


def figures(predictions, labels):
  return cityscapes.figures(count(CITYSCAPES, pair(CITYSCAPES, predictions, labels), threads=0))


def compare(ours, official):
  """Every figure of the official result, NaN where it has NaN."""
  classes, categories = ours.tables
  pairs = [
    (classes.column('IoU'), official['classScores']),
    (classes.column('iIoU'), official['classInstScores']),
    (categories.column('IoU'), official['categoryScores']),
    (categories.column('iIoU'), official['categoryInstScores']),
  ]
  for mine, theirs in pairs:
    for name, value in theirs.items():
      # What is not evaluated has no figure there and no row here.
      np.testing.assert_allclose(mine.get(name, math.nan), value, rtol=1e-12, err_msg=name)
    assert set(mine) <= set(theirs)
  averages = ['Classes', 'InstClasses', 'Categories', 'InstCategories']
  theirs = [official[f'averageScore{name}'] for name in averages]
  np.testing.assert_allclose(list(ours.summary.values()), theirs, rtol=1e-12)


def test_figures_equal_golden_values_of_the_official_tool(tmp_path):
  compare(figures(*fabricated.write(tmp_path, seed=0)), json.loads(fabricated.GOLDEN.read_text()))


@pytest.mark.parametrize('seed', range(4))
def test_figures_equal_those_of_the_official_tool(tmp_path, seed):
  pytest.importorskip(
    'cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling',
    reason='cityscapesscripts is not installed; the golden values are its figures for seed 0',
  )
  folders = fabricated.write(tmp_path, seed)
  compare(figures(*folders), fabricated.official(*folders))


def test_golden_values_cover_what_can_go_wrong():
  golden = json.loads(fabricated.GOLDEN.read_text())
  assert math.isnan(golden['classScores']['train'])  # neither labelled nor predicted
  assert golden['classScores']['motorcycle'] == golden['classInstScores']['motorcycle'] == 0
  assert math.isnan(golden['classInstScores']['road'])
  assert math.isnan(golden['categoryScores']['void'])
  for iou, iiou in (('classScores', 'classInstScores'), ('categoryScores', 'categoryInstScores')):
    assert abs(golden[iou].get('car', 0) - golden[iiou].get('car', 1)) > 0.01


def test_small_instances_weigh_as_much_as_large_ones():
  # Two cars, of 90 and 10 pixels; the large one is found, the small one is not.
  instances = np.repeat([26001, 26002], [90, 10]).reshape(10, 10)
  prediction = np.repeat([26, 7], [90, 10]).reshape(10, 10).astype(np.uint8)
  label = np.full((10, 10), 26, np.uint8)
  counts = Counts(
    count_pixels(label, prediction, 34), cityscapes.count_instances(instances, prediction)
  )
  [classes, _] = cityscapes.figures(counts).tables
  assert classes.rows['car'] == pytest.approx((0.9, 0.5))


def test_without_instance_files_there_is_iou_only(tmp_path):
  folders = fabricated.write(tmp_path, seed=0)
  for path in folders[1].glob('*/*instanceIds.png'):
    path.unlink()
  ours = figures(*folders)
  golden = json.loads(fabricated.GOLDEN.read_text())
  assert ours.summary['IoU classes'] == pytest.approx(golden['averageScoreClasses'], rel=1e-12)
  assert math.isnan(ours.summary['iIoU classes'])
  assert all(math.isnan(x) for x in ours.tables[0].column('iIoU').values())
