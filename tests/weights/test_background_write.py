"""A write in the background that has failed and waits for others is found from another thread."""

import asyncio
import errno
import threading
import time

import pytest

from pspnet_jax.errors import UserError
from pspnet_jax.weights import background_write
from pspnet_jax.weights.background_write import BackgroundWrite


@pytest.fixture(autouse=True)
def patience(monkeypatch):
  monkeypatch.setattr(background_write, '_PATIENCE', 0.8)


@pytest.fixture
def writes():
  """Runs a function as Orbax's thread does, whose end waits for the other processes."""
  met = threading.Event()
  threads = []

  def start(work):
    def run():
      try:
        try:
          work()
        finally:
          met.wait()
      except OSError:
        pass

    threads.append(threading.Thread(target=run, name='save_finalize'))
    threads[-1].start()

  yield start
  met.set()
  for thread in threads:
    thread.join()


def found(write, seconds):
  """What it says within so many seconds."""
  until = time.monotonic() + seconds
  while time.monotonic() < until:
    if write.has_failed():
      return write.failure()
    time.sleep(0.02)
  return None


def test_a_failed_write_is_a_sentence_once_it_has_lasted(tmp_path, writes):
  def fail():
    raise OSError(errno.ENOSPC, 'No space left on device')

  writes(fail)
  write = BackgroundWrite(tmp_path)
  assert not write.has_failed()
  error = found(write, 20)
  assert isinstance(error, UserError)
  assert 'the disk is full; no earlier one exists: make room' in str(error)


def test_a_write_that_mends_what_it_met_has_not_failed(tmp_path, writes):
  def mend():
    for _ in range(10):  # again and again, as what retries: each time it is another one
      try:
        raise OSError(errno.EIO, 'for now')
      except OSError:
        time.sleep(0.1)

  writes(mend)
  assert found(BackgroundWrite(tmp_path), 1.5) is None


def test_where_nothing_is_written_nothing_has_failed(tmp_path):
  try:
    raise OSError(errno.ENOSPC, "this thread's")
  except OSError:
    assert found(BackgroundWrite(tmp_path), 1.2) is None


def test_a_cancelled_write_has_failed_too(tmp_path):
  write = BackgroundWrite(tmp_path)
  write._error = asyncio.CancelledError()
  assert 'CancelledError' in str(write.failure())
