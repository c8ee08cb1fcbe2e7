"""A result is there whole or not at all, whatever happens while it is written."""

import errno
import json
import os
import subprocess
import sys

import pytest

from pspnet_jax.errors import UserError
from pspnet_jax.runtime import storage
from pspnet_jax.runtime.files import (
  check_writable,
  refuse_links,
  remove_leftovers,
  whole_file,
  write_together,
  write_whole,
)
from tests import tiny


def names(folder):
  return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def old(tmp_path):
  path = tmp_path / 'scores.json'
  path.write_text('old')
  return path


def test_text_and_bytes_arrive_as_they_are(tmp_path):
  write_whole(tmp_path / 'a.md', 'Größe\n')
  write_whole(tmp_path / 'b.png', b'\x89\n')
  assert (tmp_path / 'a.md').read_bytes() == 'Größe\n'.encode()
  assert (tmp_path / 'b.png').read_bytes() == b'\x89\n'
  assert names(tmp_path) == ['a.md', 'b.png']


def test_missing_folders_are_made(tmp_path):
  write_whole(tmp_path / 'a' / 'b' / 'c.md', 'c')
  assert (tmp_path / 'a' / 'b' / 'c.md').read_text() == 'c'


def test_readers_see_the_old_file_until_the_new_one_is_whole(old):
  with whole_file(old) as file:
    file.write(b'new')
    file.flush()
    assert old.read_text() == 'old'
  assert old.read_text() == 'new'


@pytest.mark.parametrize('error', [ValueError, KeyboardInterrupt])
def test_a_crash_in_the_middle_leaves_the_old_file_and_no_litter(old, error):
  with pytest.raises(error), whole_file(old) as file:
    file.write(b'half a')
    raise error
  assert old.read_text() == 'old' and names(old.parent) == ['scores.json']


def test_a_killed_process_leaves_the_old_file_whole(old):
  program = (
    'import sys; from pathlib import Path; from pspnet_jax.runtime.files import whole_file\n'
    'with whole_file(Path(sys.argv[1])) as file:\n'
    '  file.write(b"half"); file.flush(); print("half", flush=True); sys.stdin.read()'
  )
  process = subprocess.Popen(
    [sys.executable, '-c', program, str(old)],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    cwd=tiny.ROOT,
    env=tiny.environment(),
  )
  with process:
    assert process.stdout.readline() == b'half\n'
    process.kill()
  assert old.read_text() == 'old'
  assert all(name.startswith('.') for name in names(old.parent) if name != 'scores.json')
  write_whole(old, 'new')  # what was left behind is in nobody's way
  assert old.read_text() == 'new' and len(names(old.parent)) == 2
  remove_leftovers(old.parent)
  assert names(old.parent) == ['scores.json']


@pytest.mark.parametrize('when', ['fsync', 'replace'])
def test_a_full_disk_leaves_nothing_and_is_named(old, monkeypatch, when):
  def full(*_, **__):
    raise OSError(errno.ENOSPC, 'No space left on device')

  monkeypatch.setattr(os, when, full)
  message = rf'cannot write to {old}: No space left on device\.'
  with pytest.raises(UserError, match=message):
    write_whole(old, 'new')
  with pytest.raises(UserError, match='No space left'):
    write_whole(old.with_name('other'), 'new')
  assert old.read_text() == 'old' and names(old.parent) == ['scores.json']


def test_a_write_that_fails_in_the_block_is_named(old):
  with pytest.raises(UserError, match=f'cannot write to {old}: No space left'), whole_file(old):
    raise OSError(errno.ENOSPC, 'No space left on device')  # as file.write raises it
  assert old.read_text() == 'old'


def test_an_error_of_another_file_is_not_blamed_on_this_one(old):
  with pytest.raises(FileNotFoundError), whole_file(old) as file:
    file.write((old.parent / 'missing').read_bytes())
  assert names(old.parent) == ['scores.json']


def test_a_folder_in_the_way_ends_in_a_sentence(tmp_path):
  (tmp_path / 'scores.md').mkdir()
  with pytest.raises(UserError, match=r'scores\.md is a folder, and a file is to be written there'):
    write_whole(tmp_path / 'scores.md', 'x')
  assert names(tmp_path) == ['scores.md']


def test_a_file_where_a_folder_should_be_ends_in_a_sentence(old):
  with pytest.raises(UserError, match=r'cannot write to .*scores\.json/a\.md: '):
    write_whole(old / 'a.md', 'x')


def test_what_cannot_be_written_is_known_before_long_work(old, tmp_path, monkeypatch):
  check_writable(old)
  check_writable(tmp_path / 'a' / 'b' / 'x')
  with pytest.raises(UserError, match=r'^cannot write to .* is not a folder\.$'):
    check_writable(old / 'a' / 'x')
  with pytest.raises(UserError, match='is a folder, and a file is to be written there'):
    check_writable(tmp_path)
  monkeypatch.setattr(os, 'access', lambda path, mode: False)
  with pytest.raises(UserError, match=r'x: nothing may be written to '):
    check_writable(tmp_path / 'a' / 'x')
  assert not (tmp_path / 'a').exists()


def test_a_link_stays_and_its_target_is_replaced(old, tmp_path):
  (tmp_path / 'elsewhere').mkdir()
  link = tmp_path / 'elsewhere' / 'link.json'
  link.symlink_to(old)
  write_whole(link, 'new')
  assert link.is_symlink() and old.read_text() == 'new' and not old.is_symlink()
  assert names(tmp_path / 'elsewhere') == ['link.json']
  dangling = tmp_path / 'dangling'
  dangling.symlink_to(tmp_path / 'not yet')
  write_whole(dangling, 'made')
  assert dangling.is_symlink() and (tmp_path / 'not yet').read_text() == 'made'


def test_links_are_refused_where_the_names_are_ours(old, tmp_path):
  folder = tmp_path / 'unpacked'
  folder.mkdir()
  (folder / 'config.json').symlink_to(old)
  (folder / 'metrics.jsonl').symlink_to(tmp_path / 'not yet')
  refuse_links(folder, ['other.json'])
  for name in ('config.json', 'metrics.jsonl'):
    with pytest.raises(
      UserError, match=rf'{folder / name} is a link, and what it leads to would b'
    ):
      refuse_links(folder, ['other.json', name])


def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
  pipe = tmp_path / 'pipe'
  os.mkfifo(pipe)
  with subprocess.Popen(['cat', str(pipe)], stdout=subprocess.PIPE) as reader:
    write_whole(pipe, 'through')
    assert reader.stdout.read() == b'through'
  assert pipe.is_fifo() and names(tmp_path) == ['pipe']


@pytest.mark.parametrize('umask', [0o022, 0o077, 0o002])
def test_permissions_are_those_of_any_new_file(tmp_path, umask):
  before = os.umask(umask)
  try:
    write_whole(tmp_path / 'ours', 'x')
    (tmp_path / 'plain').write_text('x')
  finally:
    os.umask(before)
  modes = {(tmp_path / name).stat().st_mode for name in ('ours', 'plain')}
  assert len(modes) == 1


@pytest.mark.parametrize('name', ['a' * 255, 'ü' * 127])
def test_names_may_be_as_long_as_the_system_allows(tmp_path, name):
  write_whole(tmp_path / name, 'x')
  assert names(tmp_path) == [name]


def test_two_writers_at_once_leave_one_of_both(tmp_path):
  path = tmp_path / 'f'
  with whole_file(path) as one, whole_file(path) as other:
    one.write(b'one')
    other.write(b'the other')
  assert path.read_bytes() == b'one' and names(tmp_path) == ['f']


def test_half_a_character_is_an_escape_and_the_same_in_json(tmp_path):
  name = b'caf\xe9.jpg'.decode(errors='surrogateescape')
  write_whole(tmp_path / 'a.txt', name)
  assert (tmp_path / 'a.txt').read_text() == r'caf\udce9.jpg'
  write_whole(tmp_path / 'a.json', json.dumps({'é': name}, ensure_ascii=False))
  assert json.loads((tmp_path / 'a.json').read_text()) == {'é': name}


@pytest.mark.parametrize('spoil', ['full', 'folder', 'file'])
def test_files_that_belong_together_are_written_all_or_not_at_all(old, monkeypatch, spoil):
  second = old.parent / 'sub' / 'b'
  if spoil == 'full':
    real, calls = os.fsync, []

    def full(descriptor):
      calls.append(descriptor)
      if len(calls) == 2:
        raise OSError(errno.ENOSPC, 'No space left on device')
      real(descriptor)

    monkeypatch.setattr(os, 'fsync', full)
  elif spoil == 'folder':
    second.mkdir(parents=True)
  else:
    second.parent.touch()
  with pytest.raises(UserError, match='sub'):
    write_together({old: 'new', second: b'b'})
  assert old.read_text() == 'old' and not [n for n in names(old.parent) if n.startswith('.')]


def test_files_that_belong_together_replace_and_remove(old, tmp_path):
  gone = tmp_path / 'gone.png'
  gone.touch()
  write_together({old: 'new', tmp_path / 'b': b'b', gone: None, tmp_path / 'never': None})
  assert names(tmp_path) == ['b', 'scores.json'] and old.read_text() == 'new'


def test_in_a_bucket_an_object_is_written_whole_or_not_at_all(bucket):
  path = storage.given('gs://scenes/run/scores.json')
  with whole_file(path) as file:
    file.write(b'old')
    assert bucket.names() == []
  with pytest.raises(KeyError), whole_file(path) as file:
    file.write(b'half a')
    raise KeyError
  assert bucket.objects['run/scores.json'].content == b'old'
  write_whole(path, 'Größe')
  assert bucket.objects['run/scores.json'].content == 'Größe'.encode()


def test_in_a_bucket_the_first_of_several_is_there_last(bucket):
  folder = storage.given('gs://scenes/run')
  contents = {folder / 'scores.json': 'new', folder / 'b.png': b'new', folder / 'c.png': None}
  for name in ('scores.json', 'c.png'):
    bucket.put(f'run/{name}', b'old')
  write_together(contents)
  assert {name: x.content for name, x in bucket.objects.items()} == {
    'run/scores.json': b'new',
    'run/b.png': b'new',
  }
  changes = [(x, path.rpartition('/run/')[2]) for x, path in bucket.requests if x in ('DELETE',)]
  assert changes[0] == ('DELETE', 'scores.json')
  bucket.read_only = True
  with pytest.raises(UserError, match=r'^gs://scenes/run/scores.json may not be used'):
    write_together(contents)
  refuse_links(folder, ['scores.json'])
  remove_leftovers(folder)
