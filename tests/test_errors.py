"""What the sentences for users are made of."""

import errno
from pathlib import Path

import pytest

from pspnet_jax.errors import Stopped, cannot_write, nearest


@pytest.mark.parametrize(
  ('name', 'meant'), [('bach_size', 'batch_size'), ('lr', None), ('base-lr', 'base_lr'), ('', None)]
)
def test_a_misspelt_name_finds_the_one_that_was_meant(name, meant):
  assert nearest(name, {'batch_size': 1, 'base_lr': 2, 'momentum': 3}) == meant


def test_nothing_is_near_where_nothing_is_known():
  assert nearest('batch_size', []) is None


def test_a_refusal_names_the_path_and_the_cause():
  full = OSError(errno.ENOSPC, 'No space left on device')
  assert str(cannot_write(Path('a/b'), full)) == 'cannot write to a/b: No space left on device.'
  assert str(cannot_write(Path('a/b'), OSError('odd'))) == 'cannot write to a/b: odd.'


def test_a_stopped_command_ends_as_shells_expect():
  assert Stopped('enough', 2).status == 130
