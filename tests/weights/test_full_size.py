"""A network of every source at the size it is published in; full_size.py compares all of them."""

import os

import pytest
import torch

from tests.weights.full_size import CASES, compare


@pytest.fixture
def all_cores():
  """For torch, which the other tests keep to one."""
  before = torch.get_num_threads()
  torch.set_num_threads(os.cpu_count() or 1)
  yield
  torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.usefixtures('all_cores')
@pytest.mark.parametrize('name', ['semseg-50', 'mmseg-50', 'mit-50', 'caffe-50'])
def test_logits_at_full_size(name, tmp_path):
  (result,), _ = compare(CASES[name], tmp_path)
  assert result.error < 2e-5
  # Equal everywhere in float64, as full_size.py shows; in float32 but for ties.
  assert result.differing < 1e-4 * result.pixels and result.gap < 2 * result.error
  assert result.winners > 0.9 * CASES[name].num_classes and result.largest < 0.2
