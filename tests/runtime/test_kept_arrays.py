"""What was counted answers the very same question only, and only undamaged."""

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pspnet_jax.errors import UserError
from pspnet_jax.runtime.kept_arrays import keep_arrays, kept_arrays
from tests.mutations import ends_well, fuzz, mutated

QUESTION = {'data': {'root': '/a', 'sizes': (1, 2)}, 'step': 3}
ARRAYS = {'counts': np.arange(6).reshape(2, 3), 'scores': np.array([0.5, np.nan])}


@pytest.fixture
def path(tmp_path):
  keep_arrays(tmp_path / 'kept.npz', QUESTION, ARRAYS)
  return tmp_path / 'kept.npz'


def same(found):
  return found.keys() == ARRAYS.keys() and all(
    found[name].dtype == x.dtype and np.array_equal(found[name], x, equal_nan=x.dtype.kind == 'f')
    for name, x in ARRAYS.items()
  )


def test_the_same_question_is_answered(path):
  assert same(kept_arrays(path, QUESTION))
  assert same(kept_arrays(path, {'step': 3, 'data': {'sizes': [1, 2], 'root': '/a'}}))


@pytest.mark.parametrize('question', [{}, {**QUESTION, 'step': 4}, {**QUESTION, 'more': None}])
def test_another_question_is_not(path, question):
  assert kept_arrays(path, question) is None


def test_nothing_is_kept_yet(tmp_path):
  assert kept_arrays(tmp_path / 'none.npz', QUESTION) is None


def npy(array, **options):
  file = io.BytesIO()
  np.save(file, array, **options)
  return file.getvalue()


def npz(**arrays):
  file = io.BytesIO()
  np.savez(file, **arrays)
  return file.getvalue()


def bomb():
  file = io.BytesIO()
  with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as archive:
    archive.writestr('key.npy', bytes(10**8))
  return file.getvalue()


@pytest.mark.parametrize(
  'content',
  [
    b'',
    b'{}',
    b'PK\x03\x04 half a file',
    npy(np.arange(6)),
    npy(np.array([{}], object)),
    npz(counts=np.arange(6)),
    npz(key=np.array([{}], object)),
    bomb(),
  ],
  ids=['empty', 'json', 'half', 'npy', 'pickle', 'keyless', 'pickled key', 'bomb'],
)
def test_a_damaged_file_answers_nothing(path, content):
  path.write_bytes(content)
  assert ends_well(kept_arrays, path, QUESTION, megabytes=50) is None


def test_numbers_that_were_changed_answer_nothing(path):
  with np.load(path) as stored:
    arrays = dict(stored)
  arrays['counts'] = -arrays['counts']
  np.savez(path, **arrays)
  assert kept_arrays(path, QUESTION) is None


def test_what_cannot_be_written_is_named(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(UserError, match='cannot write to'):
    keep_arrays(tmp_path / 'file' / 'kept.npz', QUESTION, ARRAYS)


@fuzz
@given(st.data())
def test_a_mutated_file_answers_nothing_or_the_same(tmp_path_factory, data):
  folder = tmp_path_factory.getbasetemp()
  whole = folder / 'whole.npz'
  if not whole.exists():
    keep_arrays(whole, QUESTION, ARRAYS)
  (folder / 'mutated.npz').write_bytes(data.draw(mutated([whole.read_bytes(), npy(np.arange(9))])))
  found = ends_well(kept_arrays, folder / 'mutated.npz', QUESTION)
  assert found is None or same(found)
