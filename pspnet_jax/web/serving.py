"""A page on this computer's network: which address, what it may load, and how much may come in."""

from __future__ import annotations

import signal
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from importlib import resources
from pathlib import Path
from typing import Any

import fastapi
import gradio as gr
import uvicorn

from pspnet_jax.errors import UserError
from pspnet_jax.web import uploads

_VISITORS = 16  # whose last image is kept; the one that was longest silent makes room
_UPLOADS = 16  # of the largest files, that may wait to be read
_STOP_SECONDS = 1  # that a visitor's connection may take to end
_LAST_PORT = 65_535
_FORM_BYTES = 64 * 1024  # around an uploaded file
_FONTS = ['system-ui', 'sans-serif']  # of the visitor's own computer
# The page loads what this server gives and nothing else. Gradio compiles its templates in the
# browser, which asks for 'unsafe-eval'.
_HEADERS = {
  'Content-Security-Policy': (
    "default-src 'self'; img-src 'self' data: blob:; font-src 'self' data:; "
    "style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "object-src 'none'; base-uri 'self'; form-action 'self'"
  ),
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
}

# Screen readers say what a group of choices is about; Gradio shows it, and leaves it at that.
_NAME_GROUPS = """
() => document.querySelectorAll('fieldset').forEach(group =>
  group.setAttribute('aria-label', group.querySelector('span').textContent.trim()))
"""
_API = '/gradio_api/'
_OF_THE_PAGE = tuple(
  _API + name for name in ('cancel', 'heartbeat/', 'queue/', 'reset', 'startup-events', 'upload')
)
_FOR_PROGRAMS = ('/config', '/monitoring')

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]


def listen(host: str, port: int) -> socket.socket:
  """Opens the address, with `port` 0 at any port that is free.

  Raises:
    UserError: if it is in use, not this computer's, or not the user's to open.
  """
  if not 0 <= port <= _LAST_PORT:
    raise UserError(f'--port={port} is no port: give 0 to {_LAST_PORT}.')
  try:
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    opened = socket.socket(family, socket.SOCK_STREAM)
  except (OSError, UnicodeError) as error:
    raise UserError(
      f'--host={host} is no address: give one of this computer, such as 127.0.0.1.'
    ) from error
  try:
    # A server that has just stopped leaves its port waiting, which is not in use.
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    opened.bind(address)
    opened.listen()
  except OSError as error:
    opened.close()
    raise UserError(
      f'{host}:{port} cannot be served on ({error.strerror or error}): give another --port, or '
      '--port=0 for one that is free.'
    ) from error
  return opened


def address_of(opened: socket.socket) -> str:
  """The address for a browser, without a proxy that may be in front of it."""
  host, port = opened.getsockname()[:2]
  return f'http://{f"[{host}]" if ":" in host else host}:{port}/'


class AskedToStop:
  """Ends the page that is served, or will be, at Ctrl-C, SIGTERM and SIGHUP, while entered."""

  _SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

  def __init__(self) -> None:
    self._asked = False
    self._server: uvicorn.Server | None = None
    self._before: dict[signal.Signals, Any] = {}

  def __enter__(self) -> AskedToStop:
    for number in self._SIGNALS:
      if signal.getsignal(number) != signal.SIG_IGN:  # as SIGHUP is under nohup
        self._before[number] = signal.signal(number, self._stop)
    return self

  def __exit__(self, *_: object) -> None:
    for number, handler in self._before.items():
      signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: set in C

  def ends(self, server: uvicorn.Server) -> None:
    """Has the server end when asked; at once, if that was before it."""
    self._server = server
    server.should_exit = self._asked

  def _stop(self, _number: int, _frame: object) -> None:
    # It raises nothing: an exception could be dropped, as `runtime.signals` says.
    self._asked = True
    if self._server is not None:
      self._server.should_exit = True


def serve(
  blocks: gr.Blocks,
  opened: socket.socket,
  folder: Path,
  asked: AskedToStop,
  *,
  most_bytes: int,
  root_path: str | None = None,
) -> None:
  """Serves a page until the process is asked to stop.

  Args:
    blocks: the page, built within `private.settings` and `private.folder`.
    opened: where, from `listen`.
    folder: where uploads are until they are read.
    asked: entered before `folder` was made, which is removed on leaving it.
    most_bytes: of one uploaded file.
    root_path: where a proxy shows the page, as '/pspnet'.
  """
  blocks.state_session_capacity = _VISITORS
  blocks.has_launched = True  # or Gradio does not ask whether a path is that of an upload
  app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
  app = gr.mount_gradio_app(
    app,
    blocks,
    path='/',
    root_path=root_path,
    app_kwargs={'docs_url': None, 'redoc_url': None, 'openapi_url': None},
    footer_links=[],
    max_file_size=most_bytes,
    show_error=False,
    theme=gr.themes.Default(primary_hue='blue', font=_FONTS, font_mono=['monospace']),
    js=_NAME_GROUPS,
    css=resources.files('pspnet_jax.web').joinpath('style.css').read_text('utf-8'),
  )
  config = uvicorn.Config(
    _Guarded(app, most_bytes + _FORM_BYTES, folder),
    log_level='critical',
    timeout_graceful_shutdown=_STOP_SECONDS,
    lifespan='on',
  )
  server = uvicorn.Server(config)
  asked.ends(server)
  try:
    server.run(sockets=[opened])
  finally:
    opened.close()


class _Guarded:
  """An ASGI application that takes no more than it has to, and says on every answer what it loads.

  What Gradio serves beyond the page, for programs, is not there.
  """

  def __init__(self, app: Any, most_bytes: int, folder: Path):
    self._app, self._most_bytes, self._folder = app, most_bytes, folder
    self._coming = 0  # bytes of uploads that are being received

  async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
    async def guarded(message: _Message) -> None:
      if message['type'] == 'http.response.start':
        added = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
        message['headers'] = [*message.get('headers', []), *added]
      await send(message)

    if scope['type'] == 'lifespan':
      await self._app(scope, receive, send)
    elif status := self._refusal(scope):
      await fastapi.Response(status_code=status)(scope, receive, guarded)
    else:
      coming = _uploaded_bytes(scope)
      self._coming += coming
      try:
        await self._app(scope, receive, guarded)
      finally:
        self._coming -= coming

  def _refusal(self, scope: _Message) -> int | None:
    """The status of HTTP with which a request is answered at once, if it is."""
    path, headers = scope['path'], dict(scope['headers'])
    if scope['type'] != 'http' or path.startswith(_FOR_PROGRAMS):
      return 404
    if path.startswith(_API) and not path.startswith(_OF_THE_PAGE):
      return 404
    if scope['method'] in ('GET', 'HEAD'):
      return None
    length = headers.get(b'content-length', b'')
    if not length.isdigit():
      return 411
    if int(length) > self._most_bytes:
      return 413
    if coming := _uploaded_bytes(scope):
      there = uploads.held(self._folder) + self._coming
      return 507 if there + coming > _UPLOADS * self._most_bytes else None
    return None


def _uploaded_bytes(scope: _Message) -> int:
  """The announced size of an upload; 0 of another request."""
  if scope['method'] != 'POST' or not scope['path'].startswith(_API + 'upload'):
    return 0
  return int(dict(scope['headers'])[b'content-length'])
