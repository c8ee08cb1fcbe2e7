"""A Google Cloud Storage on this machine: as much of its JSON API as its clients here ask for.

They are gcsfs (small files, by epath), google-cloud-storage (locks, and what a bucket is) and
TensorStore (arrays). Objects are kept in memory. What it answers follows the published reference of
the JSON API; nothing here was compared with the real service.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import datetime
import email
import json
import os
import re
import struct
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.http_handler import Handler
from tests.weights import file_server

BUCKET = 'scenes'
# Else it asks by gRPC what kind of bucket it is.
os.environ.setdefault('GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT', 'false')


@dataclasses.dataclass(frozen=True)
class Object:
  """Content and generation of an object, and when it was written (seconds since 1970)."""

  content: bytes
  generation: int
  written: float


class Storage:
  """What it holds, and how it misbehaves.

  Attributes:
    objects: of the one bucket there is, by name.
    status: an HTTP status in place of every answer.
    statuses: for each coming request, an HTTP status in place of its answer.
    read_only: refuses whatever would change something.
    requests: method and path of each request so far.
  """

  def __init__(self) -> None:
    self.objects: dict[str, Object] = {}
    self.status: int | None = None
    self.statuses: list[int] = []
    self.read_only = False
    self.requests: list[tuple[str, str]] = []
    self.address = ''
    self._uploads: dict[str, tuple[str, Mapping[str, str], bytearray]] = {}
    self._generation = 1_000
    self._lock = threading.Lock()

  def reset(self) -> None:
    """Makes it as it was at first; its address stays."""
    self.objects, self.status, self.statuses, self.read_only = {}, None, [], False
    self.requests = []

  def names(self, prefix: str = '') -> list[str]:
    """The names of the objects below a prefix, without it."""
    return sorted(x.removeprefix(prefix) for x in self.objects if x.startswith(prefix))

  def put(self, name: str, content: bytes) -> Object:
    """Writes an object, as somebody else would."""
    self._generation += 1
    now = datetime.datetime.now(datetime.UTC).timestamp()
    self.objects[name] = Object(content, self._generation, now)
    return self.objects[name]

  def take(self, folder: Path, prefix: str) -> None:
    """Writes all files of a folder."""
    for path in sorted(folder.rglob('*')):
      if path.is_file():
        self.put(f'{prefix}/{path.relative_to(folder).as_posix()}', path.read_bytes())

  def answer(self, handler: _Handler) -> None:
    body = handler.content()  # before anything else, or it would be the next request
    path, _, query = handler.path.partition('?')
    asked = dict(urllib.parse.parse_qsl(query))
    with self._lock:
      self.requests.append((handler.command, urllib.parse.unquote(handler.path)))
      status = self.statuses.pop(0) if self.statuses else self.status
      if status is None and self.read_only and handler.command != 'GET':
        status = 403
      if status is not None:
        return handler.refuse(status)
      parts = [urllib.parse.unquote(x) for x in path.strip('/').split('/')]
      uploading = parts[0] == 'upload'
      parts = parts[parts.index('v1') + 1 :]
      if parts[:2] != ['b', BUCKET]:
        return handler.refuse(404, 'The specified bucket does not exist.')
      if uploading:
        return self._upload(handler, asked, body)
      if len(parts) == 2:
        return handler.reply({'kind': 'storage#bucket', 'name': BUCKET, 'id': BUCKET})
      if len(parts) == 3:
        return handler.reply(self._list(asked))
      return self._one(handler, parts, asked)

  def _list(self, asked: Mapping[str, str]) -> object:
    prefix, delimiter = asked.get('prefix', ''), asked.get('delimiter')
    names, prefixes = [], set()
    for name in sorted(self.objects):
      if not name.startswith(prefix) or name < asked.get('startOffset', ''):
        continue
      if 'endOffset' in asked and name >= asked['endOffset']:
        continue
      head, found, _ = name[len(prefix) :].partition(delimiter) if delimiter else ('', '', '')
      if found:
        prefixes.add(prefix + head + found)
      else:
        names.append(name)
    found = sorted([*names, *prefixes])
    found = [x for x in found if x > asked.get('pageToken', '')]
    page = found[: int(asked.get('maxResults', 1_000))]
    more = {'nextPageToken': page[-1]} if len(page) < len(found) else {}
    items = [self._resource(name) for name in page if name not in prefixes]
    return {
      'kind': 'storage#objects',
      'items': items,
      'prefixes': [x for x in page if x in prefixes],
      **more,
    }

  def _one(self, handler: _Handler, parts: list[str], asked: Mapping[str, str]) -> None:
    name = parts[3]
    there = self.objects.get(name)
    if there is None:
      return handler.refuse(404, f'No such object: {BUCKET}/{name}')
    if not self._meets(there, asked):
      status = 304 if 'ifGenerationNotMatch' in asked else 412
      return handler.refuse(status)
    if handler.command == 'DELETE':
      del self.objects[name]
      return handler.reply(b'', status=204)
    if len(parts) == 9 and parts[4] == 'rewriteTo':
      self.put(parts[8], there.content)
      size = str(len(there.content))
      done = {'done': True, 'totalBytesRewritten': size, 'objectSize': size}
      return handler.reply(done | {'resource': self._resource(parts[8])})
    if asked.get('alt') != 'media':
      return handler.reply(self._resource(name))
    start, end, status = 0, len(there.content), 200
    headers = {'x-goog-generation': str(there.generation), 'x-goog-hash': _crc(there.content)}
    if found := re.fullmatch(r'bytes=(\d*)-(\d*)', handler.headers['Range'] or ''):
      first, last = found.groups()
      if not first:
        start = max(0, end - int(last))
      else:
        start, end = int(first), min(end, int(last) + 1) if last else end
      if start >= len(there.content):
        return handler.refuse(416)
      status = 206
      headers['Content-Range'] = f'bytes {start}-{end - 1}/{len(there.content)}'
    return handler.reply(there.content[start:end], status=status, headers=headers)

  def _upload(self, handler: _Handler, asked: Mapping[str, str], body: bytes) -> None:
    if 'upload_id' in asked:
      return self._go_on(handler, asked['upload_id'], body)
    kind, name, content = asked['uploadType'], asked.get('name', ''), body
    if kind == 'multipart':
      about, content = _parts(handler.headers['Content-Type'], body)
      name = name or about['name']
    elif kind == 'resumable':
      name = name or json.loads(body)['name']
      number = str(len(self._uploads))
      self._uploads[number] = name, asked, bytearray()
      address = f'{self.address}/upload/storage/v1/b/{BUCKET}/o?upload_id={number}'
      return handler.reply({}, headers={'Location': address})
    return self._store(handler, name, asked, content)

  def _go_on(self, handler: _Handler, number: str, body: bytes) -> None:
    name, asked, so_far = self._uploads[number]
    so_far += body
    if handler.headers['Content-Range'].endswith('/*'):
      return handler.reply(b'', status=308, headers={'Range': f'bytes=0-{len(so_far) - 1}'})
    return self._store(handler, name, asked, bytes(so_far))

  def _store(self, handler: _Handler, name: str, asked: Mapping[str, str], content: bytes) -> None:
    if not self._meets(self.objects.get(name), asked):
      return handler.refuse(412)
    self.put(name, content)
    return handler.reply(self._resource(name))

  def _meets(self, there: Object | None, asked: Mapping[str, str]) -> bool:
    """Whether an object, or that there is none, is what the request makes a condition of."""
    generation = str(there.generation) if there else '0'
    wanted = asked.get('ifGenerationMatch', generation)
    return wanted == generation and asked.get('ifGenerationNotMatch') != generation

  def _resource(self, name: str) -> dict[str, object]:
    there = self.objects[name]
    written = datetime.datetime.fromtimestamp(there.written, datetime.UTC)
    time = written.strftime('%Y-%m-%dT%H:%M:%S.%fZ')
    return {
      'kind': 'storage#object',
      'id': f'{BUCKET}/{name}/{there.generation}',
      'name': name,
      'bucket': BUCKET,
      'generation': str(there.generation),
      'metageneration': '1',
      'contentType': 'application/octet-stream',
      'size': str(len(there.content)),
      'crc32c': _crc(there.content).removeprefix('crc32c='),
      'timeCreated': time,
      'updated': time,
    }


def _crc(content: bytes) -> str:
  import google_crc32c

  value = google_crc32c.value(content)
  return 'crc32c=' + base64.b64encode(struct.pack('>I', value)).decode()


def _parts(kind: str, body: bytes) -> tuple[dict[str, str], bytes]:
  """The JSON and the content of a multipart/related request."""
  [boundary] = email.message_from_string(f'Content-Type: {kind}\n\n').get_params()[1:]
  _, about, content, _ = body.split(b'--' + boundary[1].encode(), 3)
  about, content = (re.split(rb'\r?\n\r?\n', x, maxsplit=1)[1] for x in (about, content))
  content = content[:-2] if content.endswith(b'\r\n') else content[:-1]
  return json.loads(about), content


class _Handler(Handler):
  storage: Storage

  def handle(self) -> None:
    with contextlib.suppress(ConnectionError):  # gcsfs hangs up on the slower of two questions
      super().handle()

  def reply(
    self, content: object, *, status: int = 200, headers: Mapping[str, str] | None = None
  ) -> None:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    self.send_response(status)
    for name, value in (headers or {}).items():
      self.send_header(name, value)
    if not isinstance(content, bytes):
      self.send_header('Content-Type', 'application/json')
    self.send_header('Content-Length', str(len(body)))
    self.end_headers()
    if self.command != 'HEAD':
      self.wfile.write(body)

  def refuse(self, status: int, message: str = '') -> None:
    message = message or {401: 'Anonymous caller', 403: 'No access'}.get(status, 'refused')
    empty = status in (204, 304)
    self.reply(b'' if empty else {'error': {'code': status, 'message': message}}, status=status)

  def answer(self) -> None:
    self.storage.answer(self)


@contextlib.contextmanager
def serve() -> Iterator[Storage]:
  storage = Storage()
  with file_server.listening(type('Handler', (_Handler,), {'storage': storage})) as address:
    storage.address = address
    yield storage


def environment(storage: Storage) -> dict[str, str]:
  """The environment of a process whose clients ask this one in place of Google's."""
  return {
    'STORAGE_EMULATOR_HOST': storage.address,
    'TENSORSTORE_GCS_HTTP_URL': storage.address,
    'GOOGLE_AUTH_TOKEN_FOR_TESTING': 'nobody',
    'FSSPEC_GCS_TOKEN': 'anon',
    'GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT': 'false',
    'NO_GCE_CHECK': 'true',
    'no_proxy': '127.0.0.1',
  }


def use(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
  """The same for this process, whose clients keep the address that they find first."""
  from fsspec.config import conf

  for name, value in environment(storage).items():
    monkeypatch.setenv(name, value)
  conf.setdefault('gcs', {})['token'] = 'anon'
