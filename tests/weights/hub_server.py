"""A Hub on this machine: as much of its protocol as `huggingface_hub` asks for."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator

import pytest
from huggingface_hub import constants

from tests.http_handler import Handler
from tests.weights import file_server

TOKEN = 'hf_secret'


@dataclasses.dataclass
class Repository:
  """Its commits, the newest last, are files by name."""

  commits: list[dict[str, bytes]] = dataclasses.field(default_factory=list)
  tags: dict[str, int] = dataclasses.field(default_factory=dict)  # index of a commit
  private: bool = False
  gated: bool = False

  def find(self, revision: str | None) -> int | None:
    """The index of a commit."""
    known = {commit_id(i): i for i in range(len(self.commits))} | self.tags
    return len(self.commits) - 1 if revision in (None, 'main') else known.get(revision)


def commit_id(index: int) -> str:
  return hashlib.sha1(str(index).encode()).hexdigest()


class Hub:
  """What it holds, and how it misbehaves.

  Attributes:
    repositories: by OWNER/NAME.
    uploads: contents that were sent ahead of a commit, by SHA-256.
    cuts: for each coming answer with a file's content, after how many bytes the connection is cut.
    status: an HTTP status in place of every answer.
    sizes: sizes that are told of files, by name, whatever they are.
    requests: method, path and whether the token came with it.
  """

  def __init__(self) -> None:
    self.repositories: dict[str, Repository] = {}
    self.uploads: dict[str, bytes] = {}
    self.cuts: list[int] = []
    self.status: int | None = None
    self.sizes: dict[str, int] = {}
    self.requests: list[tuple[str, str, bool]] = []
    self.address = ''

  def answer(self, handler: _Handler) -> None:
    path = handler.path.partition('?')[0]
    may = handler.headers['Authorization'] == f'Bearer {TOKEN}'
    self.requests.append((handler.command, path, may))
    if self.status is not None:
      return handler.reply(self.status)
    if path == '/api/repos/create':
      return self._create(handler, may)
    if path == '/api/validate-yaml':
      return handler.reply(200, {'errors': [], 'warnings': []})
    if found := re.fullmatch(r'/lfs/(\w+)', path):
      self.uploads[found[1]] = handler.content()
      return handler.reply(200)
    found = re.match(r'(?:/api/models)?/([\w.-]+/[\w.-]+?)(?:\.git|)(/.*|)$', path)
    repository = self.repositories.get(found[1]) if found else None
    if repository is None or (repository.private and not may):
      return handler.reply(401, error='RepoNotFound')
    rest = found[2]
    if handler.command == 'POST' and not may:
      return handler.reply(403)
    if rest == '/preupload/main':
      return self._preupload(handler)
    if rest == '/info/lfs/objects/batch':
      return self._batch(handler)
    if rest == '/commit/main':
      return self._commit(handler, repository, found[1])
    if resolved := re.fullmatch(r'/resolve/([^/]+)/(.+)', rest):
      return self._resolve(handler, repository, *resolved.groups(), may=may)
    revision = rest.removeprefix('/revision/') if rest else None
    at = repository.find(revision)
    if at is None:
      return handler.reply(404, error='RevisionNotFound')
    return handler.reply(200, {'id': found[1], 'sha': commit_id(at), 'siblings': []})

  def _create(self, handler: _Handler, may: bool) -> None:
    asked = json.loads(handler.content())
    name = f'{asked["organization"]}/{asked["name"]}'
    if not may:
      return handler.reply(401)
    if name in self.repositories:
      return handler.reply(409, {'url': f'{self.address}/{name}'})
    self.repositories[name] = Repository(private=asked.get('visibility') == 'private')
    return handler.reply(200, {'url': f'{self.address}/{name}'})

  def _preupload(self, handler: _Handler) -> None:
    def mode(path: str) -> str:
      return 'regular' if path.endswith(('.md', '.json')) else 'lfs'

    files = json.loads(handler.content())['files']
    modes = [
      {'path': x['path'], 'uploadMode': mode(x['path']), 'shouldIgnore': False} for x in files
    ]
    return handler.reply(200, {'files': modes})

  def _batch(self, handler: _Handler) -> None:
    objects = [
      {**x, 'actions': {'upload': {'href': f'{self.address}/lfs/{x["oid"]}'}}}
      for x in json.loads(handler.content())['objects']
    ]
    return handler.reply(200, {'objects': objects})

  def _commit(self, handler: _Handler, repository: Repository, name: str) -> None:
    files = dict(repository.commits[-1]) if repository.commits else {}
    for line in handler.content().splitlines():
      item = json.loads(line)
      value = item['value']
      if item['key'] == 'file':
        files[value['path']] = base64.b64decode(value['content'])
      elif item['key'] == 'lfsFile':
        files[value['path']] = self.uploads[value['oid']]
    repository.commits.append(files)
    commit = commit_id(len(repository.commits) - 1)
    url = f'{self.address}/{name}/commit/{commit}'
    return handler.reply(200, {'commitUrl': url, 'commitOid': commit})

  def _resolve(
    self, handler: _Handler, repository: Repository, revision: str, name: str, *, may: bool
  ) -> None:
    at = repository.find(revision)
    if repository.gated and not may:
      return handler.reply(403, error='GatedRepo')
    if at is None:
      return handler.reply(404, error='RevisionNotFound')
    headers = {'X-Repo-Commit': commit_id(at)}
    if name not in repository.commits[at]:
      return handler.reply(404, error='EntryNotFound', headers=headers)
    content = repository.commits[at][name]
    headers |= {'ETag': f'"{hashlib.sha256(content).hexdigest()}"'}
    if name in self.sizes:
      headers |= {'X-Linked-Size': str(self.sizes[name])}
    start, status = 0, 200
    if asked := re.fullmatch(r'bytes=(\d+)-', handler.headers['Range'] or ''):
      start, status = int(asked[1]), 206
      headers['Content-Range'] = f'bytes {start}-{len(content) - 1}/{len(content)}'
    cut = self.cuts.pop(0) if self.cuts and handler.command == 'GET' else None
    return handler.reply(status, content[start:], headers=headers, cut=cut)


class _Handler(Handler):
  hub: Hub

  def reply(
    self,
    status: int,
    content: object = b'',
    *,
    error: str | None = None,
    headers: dict[str, str] | None = None,
    cut: int | None = None,
  ) -> None:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    self.send_response(status)
    for name, value in (headers or {}).items():
      self.send_header(name, value)
    if error:
      self.send_header('X-Error-Code', error)
    self.send_header('Content-Length', str(len(body)))
    self.send_header('Connection', 'close')  # what was not read of a request is not the next one
    self.end_headers()
    if self.command != 'HEAD':
      self.wfile.write(body[:cut])

  def answer(self) -> None:
    self.hub.answer(self)


@contextlib.contextmanager
def serve() -> Iterator[Hub]:
  hub = Hub()
  with file_server.listening(type('Handler', (_Handler,), {'hub': hub})) as hub.address:
    yield hub


def environment(hub: Hub, cache: object) -> dict[str, str]:
  """The environment of a process that asks this Hub and keeps nothing in the user's home."""
  return {
    'HF_ENDPOINT': hub.address,
    'HF_HOME': str(cache),
    'HF_HUB_DISABLE_XET': '1',
    'HF_HUB_DISABLE_TELEMETRY': '1',
    'no_proxy': '127.0.0.1',
    'HF_TOKEN': TOKEN,
  }


def use(hub: Hub, cache: object, monkeypatch: pytest.MonkeyPatch, token: str | None) -> None:
  """The same for this process, in which `huggingface_hub` has read its environment already."""
  for name, value in {
    'ENDPOINT': hub.address,
    'HUGGINGFACE_CO_URL_TEMPLATE': hub.address + '/{repo_id}/resolve/{revision}/{filename}',
    'HF_HOME': str(cache),
    'HF_HUB_CACHE': str(cache),
    'HF_TOKEN_PATH': f'{cache}/token',
    'HF_STORED_TOKENS_PATH': f'{cache}/tokens',
    'HF_HUB_DISABLE_XET': True,
    'HF_HUB_OFFLINE': False,
  }.items():
    monkeypatch.setattr(constants, name, value)
  monkeypatch.setenv('no_proxy', '127.0.0.1')
  monkeypatch.delenv('HF_TOKEN', raising=False)
  monkeypatch.delenv('HUGGING_FACE_HUB_TOKEN', raising=False)
  if token is not None:
    monkeypatch.setenv('HF_TOKEN', token)
