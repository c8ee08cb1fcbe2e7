"""What the sentences for users are made of."""

import errno
from pathlib import Path

import pytest

from pspnet_jax.errors import PeerFailed, Stopped, cannot_write, may_come_of_a_peer, nearest


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


@pytest.mark.parametrize(
  ('error', 'may'),
  [
    (PeerFailed('gone'), True),
    # As it came of a process that was killed while another compiled its first collective operation.
    (ValueError('UNKNOWN: Gloo AllGather failed: pair.cc:547] Connection closed by peer'), True),
    (RuntimeError('INTERNAL: NCCL operation ncclAllReduce failed'), True),
    (ValueError('shapes (3,) and (4,) do not match: UNKNOWN: x'), False),
    (KeyError('UNKNOWN: x'), False),
    (None, False),
  ],
)
def test_what_breaks_with_a_peer_is_told_from_faults_of_its_own(error, may):
  assert may_come_of_a_peer(error) == may
  if error is not None:
    wrapped = OSError('a file')
    wrapped.__cause__ = error
    assert may_come_of_a_peer(wrapped) == may
