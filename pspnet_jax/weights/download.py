"""Fetches a file once: goes on where it broke off, checks it before it gets its name, keeps it."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import io
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

from pspnet_jax.errors import UserError, cannot_write
from pspnet_jax.reporting.console import make_console, say
from pspnet_jax.runtime import paths
from pspnet_jax.runtime.limits import BYTES
from pspnet_jax.runtime.plain_text import printable
from pspnet_jax.weights.checksums import has_digest, is_sound

_TIMEOUT = 30  # seconds without a byte
_PAUSES = (1, 2, 5, 10)  # seconds before each further attempt
_PROGRESS = 1 << 16  # bytes more than ever before, after which all attempts are open again
_SLOWEST = 1 << 10  # bytes a second, on the average of
_A_WHILE = 60  # seconds
_CHUNK = 1 << 20
_KEPT = '; what has come is kept: give the command again to go on'
_BROKEN = (urllib.error.URLError, http.client.HTTPException, OSError)
_TRY_AGAIN = (408, 429, 500, 502, 503, 504)  # HTTP statuses that may pass


def cache_folder() -> Path:
  """The folder $PSPNET_JAX_CACHE, else pspnet_jax in the user's folder for caches."""
  try:
    if chosen := os.environ.get('PSPNET_JAX_CACHE'):
      return Path(chosen).expanduser()
    return paths.cache_folder()
  except RuntimeError as e:
    raise UserError('there is no home folder: say where to keep files in PSPNET_JAX_CACHE.') from e


def cached(address: str, name: str | None = None) -> Path:
  """Where the file of an address lies once it has been fetched, called `name` or as it is there."""
  return cache_folder() / (name or Path(urlsplit(address).path).name)


def fetch(address: str, digest: str, name: str | None = None) -> Path:
  """The file at `address`, downloaded unless it lies in the cache, and checked in either case.

  Processes that ask for the same file at once fetch it once.

  Args:
    address: https; http only of this machine.
    digest: the first digits of its SHA-256, or 'sha1:' and those; '' where nothing is known: then
      all of it has to come at once, and to be as long as the server says.
    name: what it is called in the cache.

  Raises:
    UserError: if it cannot be had, is too large, or has another checksum.
  """
  _check_address(address, address)
  path = cached(address, name)
  if is_sound(path, digest):
    return path
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.with_name(f'{path.name}.part')) as part:
      if is_sound(path, digest):  # another process was faster
        os.unlink(part.name)
        return path
      with _worth_keeping(part, digest):
        _fill(part, address, digest)
      part.flush()
      os.fsync(part.fileno())
      os.replace(part.name, path)
  except OSError as e:
    raise cannot_write(path, e) from e
  return path


def _fill(part: io.BufferedRandom, address: str, digest: str) -> None:
  """Downloads into `part`; what an earlier process left there is believed only for the checksum."""
  if not digest:
    part.truncate(0)
  resumed = part.seek(0, os.SEEK_END) > 0
  _download(part, address, digest)
  if resumed and not has_digest(part, digest):  # the published file has changed since
    part.truncate(0)
    _download(part, address, digest)
  if not has_digest(part, digest):
    os.unlink(part.name)
    raise WrongChecksum(
      f'{address} does not have the checksum that begins with {digest[:8]}: it was damaged on its '
      'way or is no longer the published file, and is not kept; try again later.'
    )


def _download(part: io.BufferedRandom, address: str, digest: str) -> None:
  """Appends what is missing, in further attempts where a connection breaks."""
  console = make_console(stderr=True)
  say(console, f'Fetching {address}')
  columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn())
  with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
    bar = progress.add_task('', total=None)
    etag: str | None = None
    connected, pauses, reached = False, iter(_PAUSES), part.seek(0, os.SEEK_END)
    goes_on = bool(digest)  # whether what has come will be of use to the next attempt
    while True:
      size = start = part.seek(0, os.SEEK_END)
      headers = {'User-Agent': 'pspnet_jax'}
      if start:
        headers['Range'] = f'bytes={start}-'
        if etag:  # if the file has changed since, the server sends all of it
          headers['If-Range'] = etag
      try:
        with _open(urllib.request.Request(address, headers=headers)) as response:
          connected, etag = True, _strong(response.headers.get('ETag'))
          if (begin := _begin(response)) != start:  # the server has no parts, or another file
            part.truncate(0)
            goes_on = False
            if begin != 0:
              raise http.client.HTTPException('the server sends another part than it was asked for')
            size = start = 0
          total = _total(response, start, address)
          progress.update(bar, total=total, completed=size)
          pace = _Pace(address, size, _KEPT if goes_on else '')
          while (total is None or size < total) and (chunk := response.read1(_CHUNK)):
            size += _write(part, chunk)
            progress.update(bar, completed=size)
            _check_size(size, address)
            pace.check(size)
        if size == total or (total is None and digest):
          return
        reason = 'neither a checksum is published nor does the server say how long it is'
        if total is not None:
          reason = f'the connection was cut after {size:,} of {total:,} bytes'
      except UserError:
        raise
      except urllib.error.HTTPError as e:
        if e.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
          return  # all of it is there
        reason, connected = f'the server answers {e.code} {e.reason}', e.code in _TRY_AGAIN
      except _BROKEN as e:
        cause = getattr(e, 'reason', e)  # what a URLError holds, a sentence or an exception
        reason = getattr(cause, 'strerror', None) or str(cause) or type(cause).__name__
      if size >= reached + _PROGRESS:
        pauses, reached = iter(_PAUSES), size
      pause = next(pauses, None)
      if not connected or pause is None:
        if not goes_on:
          size = part.truncate(0)
        kept = _KEPT if size else ''
        raise UserError(f'cannot fetch {address}: {_in_one_line(reason)}{kept}.')
      time.sleep(pause)


class _Pace:
  """Refuses a server that sends a byte now and then: it could go on for years."""

  def __init__(self, address: str, size: int, kept: str):
    self._address, self._size, self._kept = address, size, kept
    self._since = time.monotonic()

  def check(self, size: int) -> None:
    now = time.monotonic()
    if now - self._since < _A_WHILE:
      return
    if size - self._size < _SLOWEST * (now - self._since):
      raise UserError(
        f'cannot fetch {self._address}: the server sends less than {_SLOWEST:,} bytes a second'
        f'{self._kept}.'
      )
    self._size, self._since = size, now


def _in_one_line(reason: str) -> str:
  return printable(' '.join(reason.split()))[:300].rstrip('.')


def _open(request: urllib.request.Request) -> http.client.HTTPResponse:
  opener = urllib.request.build_opener(_Redirects(request.full_url))
  try:
    response: http.client.HTTPResponse = opener.open(request, timeout=_TIMEOUT)
  except UserError:
    raise
  except ValueError as e:  # half an IPv6 address, a host that is none
    raise http.client.InvalidURL(f'it leads to what is no address ({e})') from e
  return response


class _Redirects(urllib.request.HTTPRedirectHandler):
  """Follows only to where `fetch` would go itself."""

  def __init__(self, address: str):
    self._address = address

  def redirect_request(self, req, fp, code, msg, headers, newurl):
    _check_address(newurl, self._address)
    fp.close()  # or urllib would read all of an answer that nobody wants
    return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_address(address: str, first: str) -> None:
  """Raises UserError unless it is https; tests use http, from this machine to this machine."""
  try:
    local = all(urlsplit(x).hostname in ('127.0.0.1', 'localhost') for x in (address, first))
    scheme = urlsplit(address).scheme
  except ValueError:  # half an IPv6 address
    local, scheme = False, ''
  if scheme not in (('https', 'http') if local else ('https',)):
    where = '' if address == first else f', where {first} leads'
    raise UserError(f'{address}{where}, is no https address: it is not followed.')


def _begin(response: http.client.HTTPResponse) -> int | None:
  """The byte of the file that the answer begins at; None if it does not say."""
  if response.status != http.client.PARTIAL_CONTENT:
    return 0
  found = re.match(r'bytes (\d+)-', response.headers.get('Content-Range', ''))
  return None if found is None else int(found[1])


def _total(response: http.client.HTTPResponse, start: int, address: str) -> int | None:
  """Bytes of the whole file; None if the server does not say."""
  length = response.headers.get('Content-Length', '')
  if not length.isdecimal():
    return None
  _check_size(start + int(length), address)
  return start + int(length)


class WrongChecksum(UserError):
  """What came is not what was published."""


class _TooLarge(UserError):
  pass


def _check_size(size: int, address: str) -> None:
  if fault := BYTES.exceeded_by(size):
    raise _TooLarge(f'{address} has {fault}.')


def _strong(etag: str | None) -> str | None:
  return None if etag is None or etag.startswith('W/') else etag


def _write(part: io.BufferedRandom, chunk: bytes) -> int:
  try:
    return part.write(chunk)
  except OSError as e:  # not to be taken for a broken connection
    raise cannot_write(Path(part.name), e) from e


@contextlib.contextmanager
def _worth_keeping(part: io.BufferedRandom, digest: str) -> Iterator[None]:
  """Removes what was fetched in vain: nothing, what will never be taken, or of no checksum."""
  try:
    yield
  except BaseException as e:
    if isinstance(e, _TooLarge) or not digest or not part.seek(0, os.SEEK_END):
      Path(part.name).unlink(missing_ok=True)
    raise


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[io.BufferedRandom]:
  """The file, open and this process's alone: others wait here until it is finished."""
  while True:
    with open(path, 'a+b', opener=_not_through_links) as file:
      try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
      except BlockingIOError:
        say(make_console(stderr=True), f'Waiting for another process that fetches {path.stem}.')
        fcntl.flock(file, fcntl.LOCK_EX)
      if _is_at(file, path):
        yield file
        return
    # It was finished, and so renamed or removed, while this process waited.


def _not_through_links(path: str, flags: int) -> int:
  """Opens a file; a link could lead to any file of the user's, which would be written over."""
  return os.open(path, flags | os.O_NOFOLLOW, 0o666)


def _is_at(file: io.BufferedRandom, path: Path) -> bool:
  try:
    return os.path.samestat(os.fstat(file.fileno()), path.stat())
  except FileNotFoundError:
    return False
