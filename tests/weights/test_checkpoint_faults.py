"""What the operating system refuses around checkpoints, in sentences."""

import errno
import os

import pytest

from pspnet_jax.errors import UserError
from pspnet_jax.runtime.shortages import sentence
from pspnet_jax.weights.checkpoint_faults import Damaged, kept_in, reading, writing

# With what was to be written behind it, which says nothing to anybody.
TENSORSTORE = (
  'RESOURCE_EXHAUSTED: Error opening "zarr" driver: Failed to open: "a/b": {what} '
  "[tensorstore_spec='{{\"file_io_sync\": true}}'] [os_error_code='{number}']"
)


@pytest.mark.parametrize('wrapped', [False, True])
@pytest.mark.parametrize(
  ('number', 'what'),
  [
    (errno.ENOSPC, 'the disk is full; step 2 is safe: make room and run the same command'),
    (errno.EMFILE, 'Too many open files; step 2 is safe: raise ulimit -n and run the same'),
    (errno.EACCES, 'Permission denied; step 2 is safe: mend that and run the same command'),
  ],
)
def test_what_cannot_be_written_says_why_and_what_is_safe(tmp_path, number, what, wrapped):
  (tmp_path / '2').mkdir()
  error = (
    ValueError(TENSORSTORE.format(what='x', number=number)) if wrapped else OSError(number, 'x')
  )
  with pytest.raises(UserError, match=f'checkpoints? to {tmp_path}: {what}'), writing(tmp_path):
    raise error


def test_what_is_no_error_of_the_operating_system_is_a_defect(tmp_path):
  with pytest.raises(ValueError, match='a defect') as raised, writing(tmp_path):
    raise ValueError('a defect')
  assert not isinstance(raised.value, UserError)


@pytest.mark.parametrize('number', [errno.EIO, errno.ESTALE, errno.EACCES, errno.ETIMEDOUT])
def test_a_disk_that_refuses_is_no_damage(tmp_path, number):
  of_disk = OSError(number, 'x', str(tmp_path / 'a'))
  wrapped = ValueError('cannot restore')
  wrapped.__cause__ = of_disk
  for error in (of_disk, wrapped, ValueError(TENSORSTORE.format(what='x', number=number))):
    says = pytest.raises(UserError, match=rf'cannot be read \({os.strerror(number)}\)')
    with says as raised, reading(tmp_path):
      raise error
    assert not isinstance(raised.value, Damaged)
    assert str(raised.value).startswith(str(tmp_path))
  with pytest.raises(UserError, match='cannot be read'), reading(tmp_path):
    raise TimeoutError
  for error in (FileNotFoundError('a'), OSError(errno.EISDIR, 'x'), ValueError('OUT_OF_RANGE: x')):
    with pytest.raises(Damaged), reading(tmp_path):
      raise error


def test_what_is_not_named_after_a_step_is_none(tmp_path):
  assert kept_in(tmp_path) == 'no checkpoint was saved'
  for name in ('7', '\N{SUPERSCRIPT TWO}', '\N{ARABIC-INDIC DIGIT NINE}', '8.damaged'):
    (tmp_path / name).mkdir()
  assert kept_in(tmp_path) == 'the checkpoint of step 7 is saved'
  assert kept_in(tmp_path / 'none') == 'no checkpoint was saved'


def test_a_limit_on_open_files_is_no_damage(tmp_path):
  error = ValueError(TENSORSTORE.format(what='x', number=errno.EMFILE))
  with pytest.raises(OSError, match='Too many open files') as raised, reading(tmp_path):
    raise error
  assert 'raise ulimit -n' in sentence(raised.value)
  with pytest.raises(Damaged, match='truncated'), reading(tmp_path):
    raise ValueError('truncated')
