"""Says of an error that the machine ran short of something, and what to do about it."""

from __future__ import annotations

import errno
import re

_LOWER = (
  'lower batch_size or crop_size, raise accumulation_steps, or lower eval.batch_size and '
  'eval.window'
)


def sentence(error: BaseException) -> str | None:
  """What the user can do about an error; None if it is not the machine that lacks something."""
  if isinstance(error, MemoryError):
    size = f' ({str(error).splitlines()[0][:200]})' if str(error) else ''
    return f'the machine is out of memory{size}: {_LOWER}.'
  if isinstance(error, RuntimeError) and (what := _out_of_memory(error)) is not None:
    return f'the device is out of memory ({what}): {_LOWER}.'
  if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
    return 'the operating system lets this user start no more threads: raise its limit, ulimit -u.'
  if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
    return 'the operating system lets this process open no more files: raise ulimit -n.'
  if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
    where = f'{error.filename} cannot be written' if error.filename else 'a write failed'
    return f'{where}, because the disk is full: make room and run the same command.'
  return None


def _out_of_memory(error: RuntimeError) -> str | None:
  """What JAX's error says was too large; None if it is another one.

  GPUs report RESOURCE_EXHAUSTED, a CPU may report INTERNAL with the same words.
  """
  text = str(error)
  if found := re.search(r'Out of memory [^.\n]*', text):
    return found[0][:200]
  return text.splitlines()[0][:200] if 'RESOURCE_EXHAUSTED' in text else None
