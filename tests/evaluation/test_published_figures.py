"""Published figures beside one's own."""

import math

import pytest

from pspnet_jax.data.known_classes import CITYSCAPES, VOC2012
from pspnet_jax.errors import UserError
from pspnet_jax.evaluation import published_figures
from pspnet_jax.evaluation.figures import Figures, Table, as_csv, as_markdown
from pspnet_jax.evaluation.published_figures import PUBLISHED, Published

ONE = Published(
  title='a network on a split',
  source='table 1',
  columns=('IoU', 'iIoU'),
  rows={'sky': (90.0, math.nan), 'car': (70.0, 50.0)},
  means=(80.0, 50.0),
)
OURS = Figures(
  {'mIoU': 0.75},
  (
    Table('class', ('IoU', 'pixels'), {'car': (0.6, 0.1), 'sky': (0.9, 0.9)}, (0.75, math.nan)),
    Table('category', ('IoU',), {'object': (0.6,)}, (0.6,)),
  ),
)


@pytest.mark.parametrize('name', PUBLISHED)
def test_the_means_are_those_of_the_classes(name):
  found = PUBLISHED[name]
  for column, mean in zip(zip(*found.rows.values(), strict=True), found.means, strict=True):
    present = [value for value in column if not math.isnan(value)]
    assert sum(present) / len(present) == pytest.approx(mean, abs=1e-4)


def test_the_classes_are_those_of_the_data():
  PUBLISHED['cityscapes_test'].check(CITYSCAPES.class_names)
  with pytest.raises(UserError, match=r'are of other classes than the data \(aeroplane, to begin'):
    PUBLISHED['cityscapes_test'].check(VOC2012.class_names)


def test_classes_are_matched_by_their_names():
  table, other = ONE.beside(OURS).tables
  assert table.columns == ('IoU', 'published IoU', 'IoU difference', 'pixels')
  assert table.rows['car'] == pytest.approx((0.6, 0.7, -0.1, 0.1))
  assert table.means == pytest.approx((0.75, 0.8, -0.05, math.nan), nan_ok=True)
  assert other == OURS.tables[1]


def test_every_form_of_the_figures_has_them():
  found = ONE.beside(OURS)
  assert '| car | 60.00 | 70.00 | -10.00 | 10.00 |' in as_markdown(found, 'title')
  assert 'class,sky,published IoU,0.9\n' in as_csv(found)
  values = ONE.to_json()
  assert values['mean IoU'] == 0.8 and values['iIoU'] == {'sky': None, 'car': 0.5}


def test_a_name_that_there_is_not_is_answered_with_those_there_are():
  assert published_figures.named('cityscapes_test') is PUBLISHED['cityscapes_test']
  with pytest.raises(UserError, match=r"no published figures 'cityscape_test': did you mean citys"):
    published_figures.named('cityscape_test')
  with pytest.raises(UserError, match=r"no published figures 'x': there are cityscapes_test"):
    published_figures.named('x')
