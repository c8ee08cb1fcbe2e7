"""Errors of a machine that is too small, which are nobody's defect."""

import errno

import numpy as np
import pytest

from pspnet_jax.runtime.shortages import sentence


@pytest.mark.parametrize(
  ('error', 'begins'),
  [
    (
      RuntimeError('RESOURCE_EXHAUSTED: Out of memory while trying to allocate 4 bytes.\nmore'),
      'the device is out of memory (Out of memory while trying to allocate 4 bytes): lower batch',
    ),
    (
      RuntimeError('INTERNAL: Error dispatching: Out of memory allocating 26727889088 bytes.'),
      'the device is out of memory (Out of memory allocating 26727889088 bytes): lower batch_size',
    ),
    (MemoryError(), 'the machine is out of memory: lower batch_size or crop_size'),
    (RuntimeError("can't start new thread"), 'the operating system lets this user start no more'),
    (OSError(errno.EMFILE, 'Too many open files', 'x'), 'the operating system lets this process'),
    (OSError(errno.ENOSPC, 'No space left', '/a/b'), '/a/b cannot be written, because the disk'),
  ],
)
def test_one_sentence_with_what_to_do(error, begins):
  text = sentence(error)
  assert text.startswith(begins) and text.endswith('.') and '\n' not in text


def test_an_array_that_numpy_cannot_have_names_its_size():
  with pytest.raises(MemoryError) as raised:
    np.zeros((1 << 29, 1 << 30))
  assert 'Unable to allocate 4.00 EiB' in sentence(raised.value)


@pytest.mark.parametrize(
  'error', [RuntimeError('a defect'), OSError(2, 'none', 'x'), KeyError('x')]
)
def test_anything_else_is_not_explained_away(error):
  assert sentence(error) is None
