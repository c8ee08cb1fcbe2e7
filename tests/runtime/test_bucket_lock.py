"""One process at a time works in a folder of a bucket, and a dead one does not count for long."""

import json
import os
import subprocess
import sys
import threading
import time

import pytest

from pspnet_jax.errors import UserError
from pspnet_jax.runtime import bucket_lock, storage
from pspnet_jax.runtime.folder_lock import FolderLock

BUSY = 'is in use by {holder}: wait.'
LOCK = 'run/run.lock'
OTHER = {'pid': 12, 'host': 'tpu-0', 'machine': 'another', 'token': 'theirs'}


@pytest.fixture(autouse=True)
def soon(monkeypatch):
  for name, seconds in (('_RENEWED', 0.1), ('_PATIENCE', 1.0), ('_LOOKED', 0.05)):
    monkeypatch.setattr(bucket_lock, name, seconds)


def lock():
  return bucket_lock.lock(storage.given('gs://scenes/run'), BUSY)


def holder(bucket):
  return json.loads(bucket.objects[LOCK].content)


def until(true):
  deadline = time.monotonic() + 60
  while not true():
    assert time.monotonic() < deadline
    time.sleep(0.02)


def test_on_this_computer_it_is_the_operating_systems(tmp_path):
  with bucket_lock.lock(tmp_path, BUSY) as held:
    assert isinstance(held, FolderLock)


def test_it_says_who_has_it_shows_signs_of_life_and_goes(bucket):
  with lock():
    assert holder(bucket)['pid'] == os.getpid()
    first = bucket.objects[LOCK].generation
    until(lambda: bucket.objects[LOCK].generation > first + 1)
  assert bucket.names() == []


def test_the_same_process_has_to_let_go_first(bucket):
  with (
    lock(),
    pytest.raises(UserError, match='by this process itself, which has to'),
  ):
    lock()
  lock().release()


def test_a_live_process_elsewhere_is_named_with_what_to_remove(bucket):
  ended = threading.Event()

  def live():
    while not ended.wait(0.2):
      bucket.put(LOCK, json.dumps(OTHER).encode())

  bucket.put(LOCK, json.dumps(OTHER).encode())
  thread = threading.Thread(target=live)
  thread.start()
  try:
    says = (
      r'^gs://scenes/run is in use by process 12 on tpu-0 \(if it is dead, remove '
      r'gs://scenes/run/run.lock\): wait\.$'
    )
    with pytest.raises(UserError, match=says):
      lock()
  finally:
    ended.set()
    thread.join()


@pytest.mark.parametrize('content', [json.dumps(OTHER).encode(), b'', b'[1]', b'\xff\x1b[2J' * 999])
def test_one_that_shows_no_sign_of_life_is_taken_over(bucket, content, capsys):
  bucket.put(LOCK, content)
  with lock():
    assert holder(bucket)['pid'] == os.getpid()
  who = 'process 12 on tpu-0' if b'tpu' in content else 'another process'
  assert capsys.readouterr().err == (
    f'gs://scenes/run was in use by {who}: waiting 1 s for a sign of life.\n'
  )


def test_a_dead_process_of_this_machine_is_taken_over_at_once(bucket, monkeypatch, capsys):
  if not bucket_lock._machine():
    pytest.skip('this system does not say which machine it is')
  monkeypatch.setattr(bucket_lock, '_PATIENCE', 600)
  dead = subprocess.Popen([sys.executable, '-c', ''])
  dead.wait()
  for pid in (dead.pid, os.getpid()):  # or its number is ours now
    about = OTHER | {'pid': pid, 'machine': bucket_lock._machine()}
    bucket.put(LOCK, json.dumps(about).encode())
    lock().release()
  assert capsys.readouterr().err == ''


def test_who_lost_it_while_it_was_cut_off_ends(bucket):
  with lock() as held:
    held.renew()
    bucket.put(LOCK, json.dumps(OTHER).encode())
    until(lambda: held._lost is not None)
    with pytest.raises(UserError, match='by process 12 on tpu-0, which has taken it while'):
      held.renew()
  assert holder(bucket) == OTHER  # is not ours to remove


def test_one_that_somebody_removed_is_taken_again(bucket):
  with lock() as held:
    bucket.objects.clear()
    until(lambda: LOCK in bucket.objects)
    held.renew()
    assert holder(bucket)['pid'] == os.getpid()


def test_an_answer_that_was_lost_does_not_lock_out_its_own_process(bucket, monkeypatch):
  put = bucket.put

  def lose(name, content):
    monkeypatch.setattr(bucket, 'put', put)
    put(name, content)
    raise ConnectionResetError

  monkeypatch.setattr(bucket, 'put', lose)
  with lock():
    assert holder(bucket)['pid'] == os.getpid()


def test_a_bucket_that_may_not_be_written_to_is_a_sentence(bucket):
  bucket.read_only = True
  with pytest.raises(UserError, match=r'^gs://scenes/run may not be used'):
    lock()
