"""Workdirs and packed folders are taken alike."""

import numpy as np
import pytest

from pspnet_jax.errors import UserError
from pspnet_jax.inference.card import Card
from pspnet_jax.weights import folders, members
from pspnet_jax.weights.checkpoints import Checkpoints
from tests.weights import packs


@pytest.fixture
def both(tmp_path):
  made = packs.network()
  with Checkpoints(tmp_path / 'run') as checkpoints:
    checkpoints.save(6, {'params': made.params, 'batch_stats': made.batch_stats}, made.card)
  return tmp_path / 'run', packs.write(tmp_path / 'packed')


def test_either_gives_the_same_network(both):
  run, packed = (folders.load(folder, build=Card.build_network) for folder in both)
  assert (run.step, run.card, run.digest) == (packed.step, packed.card, packed.digest)
  for name, x in run.params.items():
    np.testing.assert_array_equal(x, packed.params[name])
  for folder in both:
    folders.check(folder)
    assert folders.local(str(folder)) == folder


def test_a_run_and_what_was_packed_of_it_do_not_weigh_double(both):
  with pytest.raises(UserError, match='hold the same weights'):
    list(members.load(both))
  with pytest.raises(UserError, match='holds no checkpoints'):
    folders.check(both[0] / 'checkpoints')


def test_a_folder_that_is_both_is_the_run_s(both):
  run, packed = both
  (run / 'model.safetensors').write_bytes((packed / 'model.safetensors').read_bytes())
  assert folders.load(run).step == 6
