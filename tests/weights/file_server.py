"""A web server of one file on this machine that can be made to misbehave."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer:
  """Serves `content` whatever is asked for.

  Attributes:
    content, etag: of the file; etag None sends none.
    ranges: whether it knows about parts.
    cuts: for each coming answer, after how many bytes of it the connection is cut.
    statuses: for each coming answer, an HTTP status in place of the file.
    location: where every request is redirected.
    hold: answers wait while it is cleared.
    requests: (Range, If-Range, bytes sent) of every answer so far.
  """

  def __init__(self, content: bytes):
    self.content, self.etag, self.ranges = content, '"one"', True
    self.cuts: list[int] = []
    self.statuses: list[int] = []
    self.location: str | None = None
    self.requests: list[tuple[str | None, str | None, int]] = []
    self.hold = threading.Event()
    self.hold.set()
    self.address = ''

  def answer(self, handler: BaseHTTPRequestHandler) -> None:
    asked, condition = handler.headers['Range'], handler.headers['If-Range']
    start, status = 0, 200
    if asked and self.ranges and condition in (None, self.etag):
      start, status = int(re.fullmatch(r'bytes=(\d+)-', asked)[1]), 206
      if start >= len(self.content):
        status = 416
    if self.statuses:
      status = self.statuses.pop(0)
    if self.location:
      status = 302
    body = self.content[start:] if status in (200, 206) else b''
    sent = body[: self.cuts.pop(0)] if self.cuts else body
    self.requests.append((asked, condition, len(sent)))
    self.hold.wait(60)
    handler.send_response(status)
    if status == 206:
      last = len(self.content) - 1
      handler.send_header('Content-Range', f'bytes {start}-{last}/{last + 1}')
    if self.etag:
      handler.send_header('ETag', self.etag)
    if self.location:
      handler.send_header('Location', self.location)
    handler.send_header('Content-Length', str(len(body)))
    handler.end_headers()
    handler.wfile.write(sent)
    handler.close_connection = True


@contextlib.contextmanager
def serve(content: bytes, name: str = 'net.pth') -> Iterator[FileServer]:
  files = FileServer(content)

  class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
      files.answer(self)

    def log_message(self, *_):
      pass

  with listening(Handler) as address:
    files.address = f'{address}/{name}'
    yield files


@contextlib.contextmanager
def listening(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
  """Serves on this machine's own address, which it yields, until the block ends."""
  server = ThreadingHTTPServer(('127.0.0.1', 0), handler)
  thread = threading.Thread(target=server.serve_forever, args=(0.01,))
  thread.start()
  try:
    yield f'http://127.0.0.1:{server.server_port}'
  finally:
    server.shutdown()
    thread.join()
    server.server_close()
