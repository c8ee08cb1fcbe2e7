"""metrics.jsonl: in order, whole, and free of what a resumed run will write again."""

import errno
import io
import json
import time

import numpy as np
import pytest

from pspnet_jax.errors import UserError
from pspnet_jax.reporting import run_files
from pspnet_jax.reporting.run_files import RunFiles, forget_after
from pspnet_jax.runtime import storage


def test_a_clean_log_is_left_alone(tmp_path):
  path = tmp_path / 'metrics.jsonl'
  path.write_text('{"step": 1}\n{"step": 2}\n')
  before = path.stat()
  forget_after(path, 2)
  assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_rubbish_in_the_log_goes(tmp_path):
  path = tmp_path / 'metrics.jsonl'
  path.write_bytes(b'{"step": 1}\n\0\0\0\xff\n[1]\n{"step": "a"}\n{"step": 2}\n')
  forget_after(path, 2)
  assert path.read_text() == '{"step": 1}\n{"step": 2}\n'


def test_later_records_go_and_so_does_one_that_was_not_written_to_its_end(tmp_path):
  path = tmp_path / 'metrics.jsonl'
  path.write_text('{"step": 10}\n{"step": 20}\n{"step": 30}\n{"step": 15, "lo')
  forget_after(path, 20)
  assert path.read_text() == '{"step": 10}\n{"step": 20}\n'
  forget_after(tmp_path / 'nowhere.jsonl', 20)
  assert [p.name for p in tmp_path.iterdir()] == ['metrics.jsonl']


def test_records_come_in_the_order_of_the_calls_and_numbers_stay_numbers(tmp_path):
  files = RunFiles(tmp_path, start_step=0)
  files.open()
  for step in range(100):
    files.scalars(step, {'loss': np.float32(step), 'count': step, 'bad': float('inf')})
  files.close()
  records = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
  assert [record['step'] for record in records] == list(range(100))
  assert records[7]['loss'] == 7.0 and records[7]['count'] == 7 and records[7]['bad'] is None


def test_a_full_disk_is_told_once_with_the_files_name_and_the_remedy(tmp_path):
  files = RunFiles(tmp_path, start_step=0)
  files.open()

  class FullDisk(io.StringIO):
    def write(self, _):
      raise OSError(errno.ENOSPC, 'No space left on device')

  files._jsonl = FullDisk()
  files.scalars(1, {'loss': 1.0})
  with pytest.raises(UserError, match=r'metrics\.jsonl cannot be written \(No space .* another'):
    files.close()


def test_files_that_were_removed_are_begun_anew_and_it_is_said(tmp_path, caplog):
  files = RunFiles(tmp_path, start_step=0)
  files.open()
  files.scalars(1, {'loss': 1.0})
  while '1' not in (tmp_path / 'metrics.jsonl').read_text():  # the thread has written it
    time.sleep(0.01)
  time.sleep(0.05)
  for path in list(tmp_path.iterdir()):
    path.unlink()
  files.scalars(2, {'loss': 2.0})
  files.close()
  assert json.loads((tmp_path / 'metrics.jsonl').read_text())['step'] == 2
  assert len(list(tmp_path.glob('events.out.tfevents.*'))) == 1
  assert [message.partition(' was removed: ')[2] for message in caplog.messages] == [
    'a new one begins at step 2.'
  ] * 2


def test_records_are_not_written_through_a_link(tmp_path):
  (tmp_path / 'victim').write_text('precious')
  (tmp_path / 'run').mkdir()
  (tmp_path / 'run' / 'metrics.jsonl').symlink_to(tmp_path / 'victim')
  files = RunFiles(tmp_path / 'run', start_step=0)
  with pytest.raises(UserError, match=r'metrics\.jsonl is a link, and what it leads to'):
    files.open()
  assert (tmp_path / 'victim').read_text() == 'precious'


def steps_in(bucket):
  content = bucket.objects['run/metrics.jsonl'].content
  return [json.loads(line)['step'] for line in content.splitlines()]


def test_in_a_bucket_what_was_written_is_there_after_a_sync_and_later_records_go(bucket):
  bucket.put('run/metrics.jsonl', b'{"step": 2}\n{"step": 4}\n{"step": 6}\n{"st')
  files = RunFiles(storage.given('gs://scenes/run'), start_step=4)
  files.open()
  files.scalars(6, {'loss': 1.0})
  files.sync()
  assert steps_in(bucket) == [2, 4, 6]
  [events] = bucket.names('run/events.out.tfevents.')
  size = len(bucket.objects[f'run/events.out.tfevents.{events}'].content)
  files.scalars(8, {'loss': 1.0})
  files.close()
  assert steps_in(bucket) == [2, 4, 6, 8]
  assert len(bucket.objects[f'run/events.out.tfevents.{events}'].content) > size


def test_in_a_bucket_no_event_file_grows_for_ever(bucket, monkeypatch):
  monkeypatch.setattr(run_files, '_LARGEST_SENT', 1_000)
  files = RunFiles(storage.given('gs://scenes/run'), start_step=0)
  files.open()
  for step in (1, 2):
    files.images(step, {'noise': np.random.default_rng(step).integers(0, 256, (32, 32, 3), 'u1')})
    files.sync()
  files.close()
  assert len(bucket.names('run/events.out.tfevents.')) == 3


def test_a_bucket_that_is_cut_off_ends_a_run_only_where_something_has_to_be_safe(
  bucket, monkeypatch, caplog
):
  monkeypatch.setattr(run_files, '_FLUSH_SECONDS', 0.05)
  monkeypatch.setattr(run_files, '_SENT_SECONDS', 0.05)
  files = RunFiles(storage.given('gs://scenes/run'), start_step=0)
  files.open()
  bucket.read_only = True
  files.scalars(1, {'loss': 1.0})
  while not caplog.records:
    time.sleep(0.02)
  assert 'may not be used by this account' in caplog.text
  files.scalars(2, {'loss': 1.0})  # goes on
  with pytest.raises(UserError, match=r'^gs://scenes/run/.* may not be used'):
    files.sync()
  files.close()
