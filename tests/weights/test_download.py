"""Downloads from a server on this machine that cuts, lies and changes its mind."""

import contextlib
import hashlib
import socketserver
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

from pspnet_jax.errors import UserError
from pspnet_jax.weights import download
from tests import mutations, tiny
from tests.weights.file_server import serve

CONTENT = np.random.default_rng(0).bytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
  monkeypatch.setenv('PSPNET_JAX_CACHE', str(tmp_path / 'cache'))
  monkeypatch.setenv('no_proxy', '127.0.0.1')
  monkeypatch.setattr(download, '_PAUSES', (0, 0))
  return tmp_path / 'cache'


@pytest.fixture
def server():
  with serve(CONTENT) as files:
    yield files


def names(folder: Path) -> set[str]:
  return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize('digits', [8, 64])
def test_a_file_is_fetched_once_and_needs_no_server_afterwards(cache, digits, capsys):
  with serve(CONTENT) as server:
    path = download.fetch(server.address, SHA256[:digits])
    assert path == cache / 'net.pth' == download.cached(server.address)
    assert path.read_bytes() == CONTENT and names(cache) == {'net.pth'}
    assert f'Fetching {server.address}' in capsys.readouterr().err
  assert download.fetch(server.address, SHA256[:digits]) == path
  assert [sent for *_, sent in server.requests] == [len(CONTENT)]
  assert capsys.readouterr().err == ''


def test_what_was_cut_goes_on_where_it_stopped(server):
  server.cuts = [100_000, 50_000]
  path = download.fetch(server.address, SHA256)
  assert path.read_bytes() == CONTENT
  assert server.requests == [
    (None, None, 100_000),
    ('bytes=100000-', '"one"', 50_000),
    ('bytes=150000-', '"one"', 150_000),
  ]


def test_what_another_process_left_goes_on_too(server, cache):
  cache.mkdir()
  (cache / 'net.pth.part').write_bytes(CONTENT[:250_000])
  assert download.fetch(server.address, SHA256).read_bytes() == CONTENT
  assert server.requests == [('bytes=250000-', None, 50_000)]


def test_a_part_that_is_complete_is_only_checked(server, cache):
  cache.mkdir()
  (cache / 'net.pth.part').write_bytes(CONTENT)
  assert download.fetch(server.address, SHA256).read_bytes() == CONTENT
  assert [sent for *_, sent in server.requests] == [0]


def test_a_server_without_parts_sends_everything_again(server):
  server.ranges, server.cuts = False, [100_000]
  assert download.fetch(server.address, SHA256).read_bytes() == CONTENT
  assert [sent for *_, sent in server.requests] == [100_000, 300_000]


def test_a_server_without_parts_that_always_cuts_is_given_up(server, cache):
  server.ranges, server.cuts = False, [100_000] * 99
  with pytest.raises(UserError, match=r'cut after 100,000 of 300,000 bytes\.$'):
    download.fetch(server.address, SHA256)
  assert len(server.requests) == 1 + 2  # the first had more than ever before


def test_a_byte_now_and_then_is_no_download(server, cache, monkeypatch):
  now = iter(range(0, 10**6, 7))  # seconds
  monkeypatch.setattr(download.time, 'monotonic', lambda: next(now))
  monkeypatch.setattr(download, '_CHUNK', 100)
  with pytest.raises(UserError, match='less than 1,024 bytes a second; what has come is kept'):
    download.fetch(server.address, SHA256)
  assert 0 < (cache / 'net.pth.part').stat().st_size < 2000
  monkeypatch.setattr(download, '_CHUNK', 10_000)
  assert download.fetch(server.address, SHA256).read_bytes() == CONTENT


# Whole answers, and what is said about them.
HOSTILE = {
  'half an address': (b'302 x\r\nLocation: http://[::1/x', 'no address'),
  'a port that is none': (b'302 x\r\nLocation: http://127.0.0.1:99999/x', 'cannot fetch'),
  'no letters of an address': (b'302 x\r\nLocation: http://127.0.0.1/\xe9\xff\x1b', 'cannot fetch'),
  'escape codes': (b'404 \x1b[2J\x1b]0;owned\x07', r'answers 404 \\x1b\[2J\\x1b\]0;owned'),
  'a redirect to itself': (
    b'302 x\r\nLocation: /x',
    'redirect error that would lead',
  ),
  'a chunk of no size': (b'200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz', 'cannot fetch'),
  'a part of nothing': (
    b'206 P\r\nContent-Range: bytes 9-1/2\r\nContent-Length: 5',
    'another part',
  ),
  'nothing': (b'', 'cannot fetch'),
}


@pytest.mark.parametrize('answer', HOSTILE)
def test_a_hostile_answer_is_one_sentence_and_leaves_nothing(answer, cache):
  text, message = HOSTILE[answer]
  with (
    answering(b'HTTP/1.1 ' + text + b'\r\n\r\n') as address,
    pytest.raises(UserError, match=message) as raised,
  ):
    download.fetch(address, SHA256)
  said = str(raised.value)
  assert said.isprintable() and said.endswith('.') and len(said) < 500
  assert not names(cache)


SEEDS = (
  b'HTTP/1.1 200 OK\r\nETag: "x"\r\nContent-Length: 40\r\n\r\n' + CONTENT[:40],
  b'HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-39/40\r\n\r\n' + CONTENT[:40],
  b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
  b'HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/x\r\nContent-Length: 0\r\n\r\n',
  b'HTTP/1.1 503 Busy\r\nRetry-After: 9\r\n\r\n',
)


@mutations.fuzz
@given(mutations.mutated(SEEDS))
def test_any_answer_ends_in_a_sentence(cache, data):
  with answering(data) as address:
    assert mutations.ends_well(download.fetch, address, SHA256) is None
  assert names(cache) <= {'net.pth.part'}


@contextlib.contextmanager
def answering(answer):
  """A server that says the same to everybody."""

  class Handler(socketserver.BaseRequestHandler):
    def handle(self):
      self.request.recv(4096)
      self.request.sendall(answer)

  with socketserver.TCPServer(('127.0.0.1', 0), Handler) as server:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f'http://127.0.0.1:{server.server_address[1]}/net.pth'
    server.shutdown()
    thread.join()


def test_a_file_that_changed_meanwhile_is_begun_anew(server, monkeypatch):
  server.content, server.etag, server.cuts = b'old' * 100_000, '"zero"', [100_000]

  def replace(_):
    server.content, server.etag = CONTENT, '"one"'

  monkeypatch.setattr(download.time, 'sleep', replace)
  assert download.fetch(server.address, SHA256).read_bytes() == CONTENT
  assert server.requests[1:] == [('bytes=100000-', '"zero"', 300_000)]


@pytest.mark.parametrize('left', [b'old' * 10, b'old' * 200_000])
def test_what_was_left_of_another_file_is_begun_anew(server, cache, left):
  cache.mkdir()
  (cache / 'net.pth.part').write_bytes(left)
  assert download.fetch(server.address, SHA256).read_bytes() == CONTENT
  assert server.requests[-1] == (None, None, 300_000)


def test_a_wrong_checksum_leaves_nothing(server, cache):
  server.content = CONTENT[:-1] + b'x'
  with pytest.raises(UserError, match=f'checksum that begins with {SHA256[:8]}.*try again'):
    download.fetch(server.address, SHA256)
  assert names(cache) == set()


def test_a_damaged_file_in_the_cache_is_fetched_again(server, cache):
  cache.mkdir()
  (cache / 'net.pth').write_bytes(CONTENT[:7])
  assert download.fetch(server.address, SHA256).read_bytes() == CONTENT


def test_statuses_that_may_pass_are_tried_again_and_others_not(server):
  server.statuses = [503, 500]
  assert download.fetch(server.address, SHA256).read_bytes() == CONTENT
  server.statuses = [404]
  with pytest.raises(UserError, match=r'other.pth: the server answers 404 Not Found\.$'):
    download.fetch(server.address.replace('net', 'other'), SHA256)
  assert len(server.requests) == 4


def test_a_connection_that_stays_cut_keeps_what_came(server, cache):
  server.cuts = [1000, *[0] * 9]
  with pytest.raises(UserError, match='cut after 1,000 of 300,000 bytes; what has come is kept'):
    download.fetch(server.address, SHA256)
  assert (cache / 'net.pth.part').read_bytes() == CONTENT[:1000]
  assert len(server.requests) == 1 + 2


def test_no_server_is_one_sentence_at_once(monkeypatch):
  monkeypatch.setattr(download.time, 'sleep', None)
  with serve(CONTENT) as server:
    pass
  with pytest.raises(UserError, match=r'cannot fetch .*: Connection re(fused|set)'):
    download.fetch(server.address, SHA256)


@pytest.mark.parametrize('honest', [True, False])
def test_too_large_a_file_is_not_fetched(server, cache, monkeypatch, honest):
  monkeypatch.setenv('PSPNET_JAX_MAX_BYTES', '200000')
  if not honest:
    monkeypatch.setattr(download, '_total', lambda *_: None)
  # Where the server does not say how large it is, it is as much as had come when it was too much.
  size = '300,000' if honest else r'2\d\d,\d{3}|300,000'
  with pytest.raises(UserError, match=rf'({size}) bytes, and 200,000 .*PSPNET_JAX_MAX'):
    download.fetch(server.address, SHA256)
  assert not names(cache)


@pytest.mark.parametrize(
  'target', ['file:///etc/hostname', 'ftp://127.0.0.1/x', 'http://example.org/net.pth']
)
def test_a_redirect_elsewhere_is_not_followed(server, target):
  server.location = target
  with pytest.raises(UserError, match=r'is no https address|not allowed'):
    download.fetch(server.address, SHA256)


def test_a_redirect_on_this_machine_is_followed(server):
  with serve(b'') as first:
    first.location = server.address
    assert download.fetch(first.address, SHA256).read_bytes() == CONTENT


@pytest.mark.parametrize('address', ['http://example.org/a.pth', 'file:///a.pth', 'a.pth'])
def test_only_https_is_fetched(address):
  with pytest.raises(UserError, match='is no https address'):
    download.fetch(address, SHA256)


def test_threads_and_processes_at_once_fetch_it_once(server):
  script = (
    'import sys; from pspnet_jax.weights import download; print(download.fetch(*sys.argv[1:]))'
  )
  server.hold.clear()
  with ThreadPoolExecutor(2) as pool:
    threads = [pool.submit(download.fetch, server.address, SHA256) for _ in range(2)]
    command = [sys.executable, '-c', script, server.address, SHA256]
    options = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'text': True}
    processes = [subprocess.Popen(command, cwd=tiny.ROOT, **options) for _ in range(2)]
    for process in processes:
      assert process.stderr.readline() == 'Waiting for another process that fetches net.pth.\n'
    server.hold.set()
    paths = {str(thread.result()) for thread in threads}
    paths |= {process.communicate()[0].strip() for process in processes}
  assert len(paths) == 1 and Path(paths.pop()).read_bytes() == CONTENT
  assert [sent for *_, sent in server.requests] == [len(CONTENT)]


def test_the_cache_is_where_the_environment_says(monkeypatch):
  address = 'https://example.org/a/b.pth?download=1'
  monkeypatch.setenv('PSPNET_JAX_CACHE', '')
  monkeypatch.setenv('XDG_CACHE_HOME', '/x')
  assert download.cached(address) == Path('/x/pspnet_jax/b.pth')
  monkeypatch.delenv('XDG_CACHE_HOME')
  assert download.cached(address) == Path.home() / '.cache/pspnet_jax/b.pth'


def test_a_cache_that_cannot_be_written_is_said(server, tmp_path, monkeypatch):
  (tmp_path / 'file').write_text('')
  monkeypatch.setenv('PSPNET_JAX_CACHE', str(tmp_path / 'file'))
  with pytest.raises(UserError, match=r'cannot write to .*file'):
    download.fetch(server.address, SHA256)


@pytest.mark.parametrize('ranges', [True, False])
def test_what_the_next_attempt_cannot_use_is_not_kept(server, cache, ranges):
  server.cuts, server.ranges = [1_000] * 9, ranges
  digest = SHA256 if not ranges else ''  # nothing tells whether parts belong together
  with pytest.raises(UserError, match=r'cut after [13],000 of 300,000 bytes\.$'):
    download.fetch(server.address, digest)
  assert names(cache) == set()


def test_a_link_planted_in_the_cache_is_not_written_through(server, cache, tmp_path):
  victim = tmp_path / 'victim'
  victim.write_text('mine')
  cache.mkdir()
  (cache / 'net.pth.part').symlink_to(victim)
  with pytest.raises(UserError, match='cannot write to'):
    download.fetch(server.address, SHA256)
  assert victim.read_text() == 'mine'
