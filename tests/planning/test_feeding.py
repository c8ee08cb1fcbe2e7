import numpy as np
import pytest

from pspnet_jax.data.spec import Example
from pspnet_jax.planning import feeding


class Counting:
  """A source that counts what is read of it."""

  def __init__(self):
    self.read = []

  def __len__(self):
    return 1000

  def __getitem__(self, index):
    self.read.append(index)
    return Example(image=np.zeros((8, 8, 3), np.uint8), label=np.zeros((8, 8), np.uint8), name='a')


def test_what_an_example_costs_is_measured_on_a_few(monkeypatch):
  clock = iter([5.0, 5.5])
  monkeypatch.setattr(feeding.time, 'process_time', lambda: next(clock))
  source = Counting()
  seconds = feeding.core_seconds(source, lambda example, rng: {'label': example['label']}, images=4)
  assert seconds == pytest.approx(0.125)
  assert 8 <= len(source.read) <= 12  # as many warm up; a few may be read ahead
