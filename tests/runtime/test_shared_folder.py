"""The check that all processes see the same folder, for one of two at a time."""

import jax
import pytest

from pspnet_jax.errors import UserError
from pspnet_jax.runtime import parallel, shared_folder, storage
from pspnet_jax.runtime.files import remove_leftovers


@pytest.fixture
def process(monkeypatch):
  """Makes this process one of two; the other one has 0 for whatever is summed."""
  monkeypatch.setattr(shared_folder, '_PATIENCE', 0.1)
  monkeypatch.setattr(jax, 'process_count', lambda: 2)
  monkeypatch.setattr(parallel, 'sum_over_processes', lambda x: x)
  return lambda index: monkeypatch.setattr(jax, 'process_index', lambda: index)


def test_the_first_leaves_nothing_behind(process, tmp_path):
  process(0)
  shared_folder.check_shared(tmp_path / 'run')
  assert list((tmp_path / 'run').iterdir()) == []


def test_a_folder_of_ones_own_is_refused(process, tmp_path):
  process(1)
  with pytest.raises(UserError, match='one of its own on 1 of them: give'):
    shared_folder.check_shared(tmp_path)
  seen = tmp_path / '.shared-000000000000000.part'
  seen.touch()
  shared_folder.check_shared(tmp_path)
  remove_leftovers(tmp_path)  # where the first was killed meanwhile
  assert not seen.exists()


def test_a_process_alone_writes_nothing(tmp_path):
  shared_folder.check_shared(tmp_path / 'run')
  assert not (tmp_path / 'run').exists()


def test_a_bucket_is_one_folder_and_nothing_is_written_there(bucket, process):
  process(1)
  shared_folder.check_shared(storage.given('gs://scenes/run'))
  process(0)
  shared_folder.check_shared(storage.given('gs://scenes/run'))
  assert bucket.requests == []
