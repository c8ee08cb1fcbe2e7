"""Reads the requests of clients, for the stand-ins of services on the network."""

from http.server import BaseHTTPRequestHandler


class Handler(BaseHTTPRequestHandler):
  """A connection that stays open, over which a client may send a body in chunks.

  Whoever inherits it says in `answer` what is done with each request, whatever its method.
  """

  protocol_version = 'HTTP/1.1'

  def content(self) -> bytes:
    if self.headers['Transfer-Encoding'] != 'chunked':
      return self.rfile.read(int(self.headers['Content-Length'] or 0))
    parts = []
    while size := int(self.rfile.readline(), 16):
      parts.append(self.rfile.read(size))
      self.rfile.readline()
    self.rfile.readline()
    return b''.join(parts)

  def answer(self) -> None:
    raise NotImplementedError

  def do_GET(self) -> None:
    self.answer()

  do_HEAD = do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815

  def log_message(self, *_: object) -> None:
    pass
