"""A workdir's place: its address, and what a bucket or the way there refuses."""

import importlib.util
from pathlib import Path, PurePath

import jax
import pytest

from pspnet_jax.errors import UserError
from pspnet_jax.runtime import storage

MAY_NOT = 'may not be used by this account, which needs the roles'


@pytest.fixture
def installed(monkeypatch):
  """As if gcsfs were."""
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: name)


def test_a_folder_of_a_bucket_keeps_its_address(installed):
  for text in ('gs://scenes/runs/a', 'gs://scenes/runs/a/'):
    found = storage.given(text)
    assert str(found) == str(storage.absolute(found)) == 'gs://scenes/runs/a'
    assert str(found / 'checkpoints' / '7') == 'gs://scenes/runs/a/checkpoints/7'
    assert str(storage.given(found)) == 'gs://scenes/runs/a' and isinstance(found, PurePath)
    assert storage.is_remote(found) and storage.is_address(found)
  assert str(storage.location('gs://scenes/a')) == 'gs://scenes/a'
  assert storage.location('hf://me/net') == 'hf://me/net' and storage.is_address('hf://me/net')


def test_a_folder_of_this_computer_is_a_plain_path(tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  assert storage.given('~/run') == storage.location('~/run') == tmp_path / 'run'
  assert storage.absolute(Path('run')) == Path.cwd() / 'run' and not storage.is_address('run')
  storage.check(tmp_path)


@pytest.mark.parametrize(
  ('address', 'says'),
  [
    ('gs://', r'give gs://BUCKET/FOLDER\.$'),
    ('gs://scenes', r'gs://scenes is no folder of a bucket: give gs://BUCKET/FOLDER\.$'),
    ('gs://Scenes/run', 'no folder of a bucket'),
    ('gs://scenes//run', 'no folder of a bucket'),
    ('gs://scenes/../other/run', 'no folder of a bucket'),
    ('gs://scenes/run#1', "has '#' in its name"),
    ('gs://scenes/run*', "has '\\*' in its name"),
    ('gcs://scenes/run', r'is an address of another kind: write gs://scenes/run\.$'),
    ('s3://scenes/run', 'is an address of another kind: give a folder or gs://BUCKET/FOLDER'),
    ('gs:/scenes/run', 'lacks a slash: write gs://scenes/run, or ./gs:/scenes/run for a folder'),
    ('gs:scenes/run', 'lacks a slash: write gs://scenes/run'),
    (Path('gs://scenes/run'), 'lacks a slash: write gs://scenes/run'),
    ('http://a/b', 'is an address'),
  ],
)
def test_what_is_no_address_of_a_workdir_is_refused(address, says, installed):
  with pytest.raises(UserError, match=says):
    storage.given(address)


def test_what_is_missing_is_named_with_the_command(monkeypatch):
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
  with pytest.raises(UserError, match=r"^gs://a-b/c needs gcsfs: pip install '.*\[gs\]'\.$"):
    storage.given('gs://a-b/c')


@pytest.mark.parametrize(
  ('status', 'says'),
  [
    (401, 'since no account is known here that may be used'),
    (403, MAY_NOT),
    (404, 'gs://scenes/run is in no bucket that there is'),
    (503, r'cannot be reached \(503 .*\): check the network'),
  ],
)
def test_a_bucket_that_refuses_is_a_sentence(bucket, status, says):
  folder = storage.given('gs://scenes/run')
  storage.check(folder)
  bucket.status = status
  with pytest.raises(UserError, match=says) as caught:
    storage.check(folder)
  assert str(caught.value).count('\n') == 0


def test_a_bucket_that_is_not_there_is_a_sentence(bucket):
  with pytest.raises(UserError, match='gs://another/run is in no bucket that there is'):
    storage.check(storage.given('gs://another/run'))


def raised_in(module, error):
  """The error, as raised by a function of that module."""
  try:
    exec('raise error', {'__name__': module, 'error': error})
  except type(error) as e:
    return e


def test_what_the_libraries_raise_is_told_apart(installed):
  class HttpError(Exception):
    code = 403

  class ClientConnectorError(OSError):
    pass

  ClientConnectorError.__module__ = 'aiohttp.client_exceptions'
  where = storage.given('gs://scenes/run')
  known = {
    HttpError('no'): MAY_NOT,
    OSError('Forbidden: b/scenes/o'): MAY_NOT,
    ValueError(
      "PERMISSION_DENIED: Error writing gs://scenes/x [http_response_code='403']"
    ): MAY_NOT,
    ValueError('UNAVAILABLE: no route'): 'cannot be reached (UNAVAILABLE: no route)',
    ValueError('ABORTED: x: All 32 retry attempts failed'): 'cannot be reached (ABORTED: x: All 32',
    ClientConnectorError(
      'Cannot connect to host\nx'
    ): 'cannot be reached (Cannot connect to host x)',
  }
  for error, says in known.items():
    assert f'gs://scenes/run {says}' in storage.sentence(error, where)
    wrapped = RuntimeError('something')
    wrapped.__cause__ = error
    of_a_bucket = type(error) is ValueError  # TensorStore's; others say it by where they come from
    assert (storage.sentence(wrapped) is not None) == of_a_bucket
    wrapped.__cause__ = raised_in('gcsfs.core', error)
    assert f'the bucket {says}' in storage.sentence(wrapped)
  barrier = jax.errors.JaxRuntimeError('DEADLINE_EXCEEDED: Barrier timed out')
  backend = RuntimeError("Unable to initialize backend 'tpu': UNAVAILABLE: no device")
  disk = ValueError('PERMISSION_DENIED: Failed to open: "/data/a" [os_error_code=\'13\']')
  others = ValueError('x'), FileNotFoundError('x'), KeyError('UNAVAILABLE'), barrier, backend, disk
  for other in others:
    assert storage.sentence(other, where) is None and storage.sentence(other) is None
  hub = HttpError('no')
  hub.__cause__ = raised_in('huggingface_hub', ClientConnectorError('no'))
  assert storage.sentence(hub) is None
  assert storage.sentence(ValueError('UNAVAILABLE: no route'), Path('run')) is None
