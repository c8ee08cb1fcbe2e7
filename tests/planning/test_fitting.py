import math

import pytest

from pspnet_jax.planning.fitting import largest_batch


@pytest.mark.parametrize('weights', [0, 7, 1000])
@pytest.mark.parametrize('first', [4, 16, 400])
@pytest.mark.parametrize('unit', [1, 4])
def test_the_largest_batch_is_found_in_a_few_compilations(weights, first, unit):
  asked = []

  def needs(batch):
    asked.append(batch)
    return weights + 10 * batch + (batch % 3)  # a compiler is not quite regular

  found = largest_batch(needs, 2000, unit=unit, first=first)
  assert len(asked) <= 5
  fitting = max(n for n in range(0, 401, unit) if n == 0 or needs(n) <= 2000)
  assert (found.batch, found.is_largest) == (fitting, True)


def test_a_compiler_that_only_says_that_it_is_too_much():
  asked = []

  def needs(batch):
    asked.append(batch)
    return 100 * batch if batch <= 5 else math.inf

  assert largest_batch(needs, 1000, unit=1, first=16, tries=20).batch == 5


def test_nothing_fits():
  found = largest_batch(lambda batch: math.inf, 1000, unit=4, first=16, tries=20)
  assert (found.batch, found.is_largest) == (0, True)


def test_it_gives_up_after_some_compilations_and_says_so():
  asked = []

  def needs(batch):
    asked.append(batch)
    return 1 if batch < 1e6 else 3

  found = largest_batch(needs, 2, unit=1, first=1, tries=3)
  assert not found.is_largest and found.batch == max(asked) and len(asked) == 3
