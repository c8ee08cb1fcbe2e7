"""A network of every source at full width; full_size.py compares all, on images of full size."""

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
  ('name', 'size'),
  [
    ('semseg-50', (281, 281)),
    ('mmseg-50', (280, 280)),
    ('mit-50', (240, 320)),
    ('caffe-50', (281, 281)),
    ('paddleseg-50', (280, 281)),
  ],
)
def test_logits_at_full_width(name, size, tmp_path):
  (result,), _ = compare(dataclasses.replace(CASES[name], size=size), tmp_path)
  assert result.error < 2e-5
  # Equal everywhere in float64, as full_size.py shows; in float32 but for ties.
  assert result.differing < 1e-4 * result.pixels and result.gap < 2 * result.error
  assert result.winners > 0.9 * CASES[name].num_classes and result.largest < 0.2
