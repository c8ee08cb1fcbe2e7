"""Where the page is, what it may load, and what is refused before anybody reads it."""

import asyncio
import os
import socket
from pathlib import Path

import pytest

pytest.importorskip('gradio')

from pspnet_jax.errors import UserError
from pspnet_jax.web import serving


def test_a_port_in_use_is_a_sentence():
  with serving.listen('127.0.0.1', 0) as opened:
    port = opened.getsockname()[1]
    assert port and opened.getsockname()[0] == '127.0.0.1'
    with pytest.raises(UserError, match=rf'^127\.0\.0\.1:{port} cannot be served on \(Address al'):
      serving.listen('127.0.0.1', port)


@pytest.mark.parametrize('host', ['no such host', '', '192.0.2.1'])
def test_an_address_of_others_is_a_sentence(host, monkeypatch):
  def getaddrinfo(name, port, **_):  # nothing is asked of the network
    if name == '192.0.2.1':
      return [(socket.AF_INET, socket.SOCK_STREAM, 6, '', (name, port))]
    raise socket.gaierror('unknown')

  monkeypatch.setattr(socket, 'getaddrinfo', getaddrinfo)
  with pytest.raises(UserError, match=r'is no address|cannot be served on'):
    serving.listen(host, 0)


def answer(path, method='GET', kind='http', folder=Path('none'), **headers):
  """The status and headers with which a request is answered; 200 if the application has it."""
  sent = []

  async def app(scope, receive, send):
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})

  async def send(message):
    sent.append(message)

  given = [(name.replace('_', '-').encode(), value.encode()) for name, value in headers.items()]
  scope = {'type': kind, 'path': path, 'method': method, 'headers': given, 'extensions': {}}
  asyncio.run(serving._Guarded(app, 1000, folder)(scope, None, send))
  return sent[0].get('status'), dict(sent[0].get('headers', []))


@pytest.mark.parametrize(
  ('path', 'status'),
  [
    ('/', 200),
    ('/assets/index.js', 200),
    ('/gradio_api/heartbeat/abc', 200),
    ('/config', 404),
    ('/monitoring/summary', 404),
    ('/gradio_api/info', 404),
    ('/gradio_api/openapi.json', 404),
    ('/gradio_api/call/upload', 404),
    ('/gradio_api/file=/tmp/a', 404),
    ('/gradio_api/proxy=http://localhost', 404),
  ],
)
def test_what_is_for_programs_is_not_there(path, status):
  found, headers = answer(path)
  assert found == status
  assert b"default-src 'self';" in headers[b'content-security-policy']


@pytest.mark.parametrize(
  ('headers', 'status'),
  [({'content_length': '1000'}, 200), ({'content_length': '1001'}, 413), ({}, 411)],
)
def test_what_comes_in_says_its_size_first(headers, status):
  assert answer('/gradio_api/upload', 'POST', **headers)[0] == status


def test_uploads_that_nobody_has_read_are_no_more_than_sixteen_large_ones(tmp_path):
  (tmp_path / 'abc').mkdir()
  (tmp_path / 'abc' / 'a.png').write_bytes(bytes(15_500))
  for length, status in (('500', 200), ('501', 507)):
    asked = {'method': 'POST', 'folder': tmp_path, 'content_length': length}
    assert answer('/gradio_api/upload', **asked)[0] == status
    assert answer('/gradio_api/queue/join', **asked)[0] == 200
  os.utime(tmp_path / 'abc' / 'a.png', (0, 0))  # nobody comes back for it
  assert answer('/gradio_api/upload', **asked)[0] == 200
  assert not (tmp_path / 'abc' / 'a.png').exists()
