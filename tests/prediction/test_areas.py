"""The table of areas: whole rows, whose shares add up to 1."""

import csv

import numpy as np
import pytest

from pspnet_jax.data.palettes import default_palette
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.errors import UserError
from pspnet_jax.prediction import areas
from tests import hostile

SPEC = DatasetSpec(('sky', '=road, wet'), default_palette(2))
LABEL = np.array([[0, 0, 1], [1, 255, 0]], np.uint8)


def test_a_row_has_the_share_of_every_class_and_of_none(tmp_path):
  path = tmp_path / 'areas.csv'
  areas.write(path, [('a.png', areas.measure(LABEL, SPEC))], SPEC)
  with path.open(newline='') as file:
    head, row = csv.reader(file)
  assert head == ['image', 'width', 'height', 'sky', "'=road, wet", 'ignored']
  assert row == ['a.png', '3', '2', '0.500000', '0.333333', '0.166667']


def test_any_name_stays_in_its_cell(tmp_path):
  path = tmp_path / 'areas.csv'
  area = areas.measure(LABEL, SPEC)
  areas.write(path, [(name, area) for name in hostile.CLASSES], SPEC)
  with path.open(newline='') as file:
    rows = [*csv.reader(file)]
  assert len(rows) == 1 + len(hostile.CLASSES) and {len(row) for row in rows} == {6}
  assert not any(row[0].startswith('=') for row in rows)


def test_only_tables_of_ours_are_replaced(tmp_path):
  path = tmp_path / 'areas.csv'
  areas.check_own(path)
  areas.write(path, [], SPEC)
  areas.check_own(path)
  path.write_text('name,area\n')
  with pytest.raises(UserError, match='is no table of areas'):
    areas.check_own(path)
