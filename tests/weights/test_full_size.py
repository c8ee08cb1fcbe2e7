"""Networks at full width and at half of it; full_size.py compares all, on images of full size."""

import dataclasses
import os

import pytest
import torch

from tests.weights.full_size import CASES, compare


@pytest.fixture
def all_cores():
  """Gives torch more threads: the other tests keep it to one."""
  before = torch.get_num_threads()
  torch.set_num_threads(os.cpu_count() or 1)
  yield
  torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.usefixtures('all_cores')
@pytest.mark.parametrize(
  ('name', 'width', 'size'),
  [
    ('semseg-50', 64, (201, 201)),
    ('caffe-50', 64, (281, 281)),
    pytest.param('mmseg-50', 32, (200, 200), marks=pytest.mark.digits),
    ('mit-50', 32, (200, 240)),
    ('paddleseg-50', 32, (200, 201)),
  ],
)
def test_logits_of_a_wide_network(name, width, size, tmp_path):
  case = CASES[name]
  options = case.options if width == 64 else {**case.options, 'width': width}
  (result,), _ = compare(dataclasses.replace(case, options=options, size=size), tmp_path)
  assert result.error < 2e-5
  # Equal everywhere in float64, as full_size.py shows; in float32 but for ties.
  assert result.differing < 1e-4 * result.pixels and result.gap < 2 * result.error
  assert result.winners > 0.9 * CASES[name].num_classes and result.largest < 0.2
