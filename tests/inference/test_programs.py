"""As many programs as are used, and no more than there is room for."""

import pytest

from pspnet_jax.inference import programs
from pspnet_jax.inference.programs import RecentPrograms


class Program:
  freed = False

  def clear_cache(self):
    self.freed = True


@pytest.fixture
def recent():
  return RecentPrograms(lambda shape: (Program(),))


def test_a_shape_has_its_programs_once(recent):
  assert recent.of((1, 2)) is recent.of((1, 2)) is not recent.of((2, 1))


def test_the_shape_that_has_waited_longest_gives_way(recent):
  first = recent.of((0,))[0]
  others = [recent.of((i,))[0] for i in range(1, programs.KEPT)]
  assert recent.of((0,))[0] is first and len(recent) == programs.KEPT
  recent.of((99,))
  assert [program.freed for program in others] == [True] + [False] * (programs.KEPT - 2)
  assert not first.freed and len(recent) == programs.KEPT


def test_many_sizes_are_mentioned_once(recent, caplog):
  for i in range(60):
    recent.of((i,))
  assert caplog.text.count('20th image size') == 1 and 'eval.whole_images=False' in caplog.text
