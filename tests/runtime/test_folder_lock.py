"""One process at a time works in a folder, and a dead one does not count."""

import errno
import fcntl
import os
import re
import shutil
import socket
import subprocess
import sys

import pytest

from pspnet_jax.errors import UserError
from pspnet_jax.runtime.folder_lock import FolderLock
from tests import tiny

BUSY = 'is in use by {holder}: wait.'
HOLDER = (
  'import sys; from pathlib import Path; from pspnet_jax.runtime.folder_lock import FolderLock\n'
  'lock = FolderLock(Path(sys.argv[1]), ""); print("held", flush=True); sys.stdin.read()'
)


@pytest.fixture
def holder(tmp_path):
  """Another process that has the folder."""
  with subprocess.Popen(
    [sys.executable, '-c', HOLDER, str(tmp_path)],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    cwd=tiny.ROOT,
    env=tiny.environment(),
  ) as process:
    assert process.stdout.readline() == b'held\n'
    yield process
    process.kill()


def test_another_process_is_named_and_a_dead_one_has_nothing(holder, tmp_path):
  who = f'process {holder.pid} on {re.escape(socket.gethostname())}'
  with pytest.raises(UserError, match=rf'^{tmp_path} is in use by {who}: wait\.$'):
    FolderLock(tmp_path, BUSY)
  holder.kill()
  holder.wait()
  FolderLock(tmp_path, BUSY).release()


def test_the_same_process_has_to_let_go_first(tmp_path):
  message = 'in use by this process itself, which has to close it first: wait'
  with FolderLock(tmp_path / 'new', BUSY), pytest.raises(UserError, match=message):
    FolderLock(tmp_path / 'new', BUSY)
  lock = FolderLock(tmp_path / 'new', BUSY)
  del lock  # what is forgotten is free
  FolderLock(tmp_path / 'new', BUSY)


def test_who_has_it_may_be_unreadable(tmp_path):
  with (tmp_path / '.lock').open('wb') as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    file.write(b'\x1b[2J\xff and more')
    file.flush()
    with pytest.raises(UserError, match=r'is in use by another process: wait\.$'):
      FolderLock(tmp_path, BUSY)


def test_a_removed_file_is_no_way_in(tmp_path):
  with FolderLock(tmp_path, BUSY) as lock:
    (tmp_path / '.lock').unlink()
    lock.renew()
    with pytest.raises(UserError, match='this process itself'):
      FolderLock(tmp_path, BUSY)
    (tmp_path / '.lock').unlink()
    with FolderLock(tmp_path, BUSY):
      for _ in range(2):  # it stays lost
        with pytest.raises(UserError, match='this process itself'):
          lock.renew()


def test_a_removed_folder_is_made_anew_and_taken_but_not_after_the_end(tmp_path):
  folder = tmp_path / 'run'
  with FolderLock(folder, BUSY) as lock:
    shutil.rmtree(folder)
    lock.renew()
    with pytest.raises(UserError, match='this process itself'):
      FolderLock(folder, BUSY)
  shutil.rmtree(folder)
  lock.renew()
  assert not folder.exists()


def test_a_file_system_without_locks_is_used_with_a_warning(tmp_path, monkeypatch, capsys):
  def refuse(*_):
    raise OSError(errno.ENOLCK, 'No locks available')

  monkeypatch.setattr(fcntl, 'flock', refuse)
  with FolderLock(tmp_path, BUSY), FolderLock(tmp_path, BUSY):
    warning = (
      f'Warning: {tmp_path} cannot be locked (No locks available): start no second run there.'
    )
    assert capsys.readouterr().err.splitlines() == [warning] * 2


def test_what_cannot_be_locked_is_named(tmp_path):
  (tmp_path / 'victim').write_text('precious')
  (tmp_path / 'a').mkdir()
  (tmp_path / 'a' / '.lock').symlink_to(tmp_path / 'victim')
  with pytest.raises(UserError, match=r'cannot write to .*/a/\.lock: '):
    FolderLock(tmp_path / 'a', BUSY)
  with pytest.raises(UserError, match=r'cannot write to .*victim'):
    FolderLock(tmp_path / 'victim' / 'b', BUSY)
  assert (tmp_path / 'victim').read_text() == 'precious'


def test_it_is_not_inherited_by_programs(tmp_path):
  with FolderLock(tmp_path, BUSY) as lock:
    assert not os.get_inheritable(lock._fd)
