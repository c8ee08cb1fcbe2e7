"""What the operating system refuses around checkpoints, in sentences."""

import errno

import pytest

from pspnet_jax.errors import UserError
from pspnet_jax.runtime.shortages import sentence
from pspnet_jax.weights.checkpoint_faults import Damaged, reading, writing

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


def test_a_limit_on_open_files_is_no_damage(tmp_path):
  error = ValueError(TENSORSTORE.format(what='x', number=errno.EMFILE))
  with pytest.raises(OSError, match='Too many open files') as raised, reading(tmp_path):
    raise error
  assert 'raise ulimit -n' in sentence(raised.value)
  with pytest.raises(Damaged, match='truncated'), reading(tmp_path):
    raise ValueError('truncated')
