"""Downloads from and uploads to a Hub on this machine, and what goes wrong on the way."""

import logging
from pathlib import Path

import numpy as np
import pytest

from pspnet_jax.errors import UserError
from pspnet_jax.weights import folders, packed, packed_config
from tests.weights import packs

pytest.importorskip('huggingface_hub')

from huggingface_hub import constants, file_download

from pspnet_jax.weights import hub
from tests.weights import hub_server

NAME = 'owner/net'
WEIGHTS = f'/{NAME}/resolve/{hub_server.commit_id(0)}/{packed.WEIGHTS}'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return packs.write(tmp_path_factory.mktemp('packed') / 'p')


def content_of(folder):
  return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def server(folder, tmp_path, monkeypatch):
  with hub_server.serve() as server:
    server.repositories[NAME] = hub_server.Repository([content_of(folder)])
    hub_server.use(server, tmp_path / 'cache', monkeypatch, token=None)
    yield server


def downloads(server):
  return [path for method, path, _ in server.requests if method == 'GET' and 'resolve' in path]


def test_what_is_needed_is_fetched_once_and_no_more(server, folder, capsys):
  path = hub.fetch(f'hf://{NAME}')
  assert {x.name for x in path.iterdir()} == {packed.WEIGHTS, packed.CONFIG}
  found = packed.load(path)
  for name, x in packs.network().params.items():
    np.testing.assert_array_equal(found.params[name], x)
  assert f'Fetching hf://{NAME}, commit {hub_server.commit_id(0)[:8]}' in capsys.readouterr().err
  assert len(downloads(server)) == 2
  assert hub.fetch(f'hf://{NAME}') == path and len(downloads(server)) == 2
  assert folders.load(f'hf://{NAME}').digest == found.digest
  assert 'Fetching' not in capsys.readouterr().err


def test_a_revision_is_a_branch_a_tag_or_a_commit(server, tmp_path):
  repository = server.repositories[NAME]
  repository.commits.append(content_of(packs.write(tmp_path / 'new', packs.network(1))))
  repository.tags['v1'] = 0
  old, new = (packs.network(seed).params for seed in (0, 1))
  first = hub_server.commit_id(0)
  for revision, expected in (('', new), ('@main', new), ('@v1', old), (f'@{first}', old)):
    found = folders.load(f'hf://{NAME}{revision}').params
    np.testing.assert_array_equal(found['classifier/conv/bias'], expected['classifier/conv/bias'])


def test_a_cut_download_goes_on_where_it_stopped(server, monkeypatch):
  monkeypatch.setattr(file_download.time, 'sleep', lambda seconds: None)
  server.cuts = [10**9, 50_000]  # config.json is whole
  assert packed.load(hub.fetch(f'hf://{NAME}')).step == 6
  assert downloads(server)[1:] == [WEIGHTS] * 2


def test_a_download_that_always_breaks_is_one_sentence_and_goes_on_later(server, monkeypatch):
  monkeypatch.setattr(file_download.time, 'sleep', lambda seconds: None)
  server.cuts = [10**9, 50_000, *[0] * 20]
  with pytest.raises(UserError, match=f'hf://{NAME} cannot be downloaded .*what has come is kept'):
    hub.fetch(f'hf://{NAME}')
  server.cuts = []
  assert packed.load(hub.fetch(f'hf://{NAME}')).step == 6


def test_without_a_network_what_is_here_is_taken_and_that_is_said(server, monkeypatch, capsys):
  path = hub.fetch(f'hf://{NAME}')
  server.status = 503
  assert hub.fetch(f'hf://{NAME}') == path
  said = capsys.readouterr().err
  assert f'The Hub cannot be reached: hf://{NAME} is taken as it was' in said
  monkeypatch.setattr(constants, 'ENDPOINT', 'http://127.0.0.1:1')
  assert hub.fetch(f'hf://{NAME}') == path
  monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(path / 'other'))
  with pytest.raises(UserError, match=r'cannot be downloaded \(.*refused.*\): see to the network'):
    hub.fetch(f'hf://{NAME}')


def not_there(server):
  del server.repositories[NAME]


def private(server):
  server.repositories[NAME].private = True


def gated(server):
  server.repositories[NAME].gated = True


def something_else(server):
  del server.repositories[NAME].commits[0][packed.WEIGHTS]


def huge(server):
  server.sizes = {packed.WEIGHTS: 10**12}


def broken(server):
  server.status = 500


@pytest.mark.parametrize(
  ('spoil', 'location', 'message'),
  [
    (not_there, f'hf://{NAME}', 'is not there, or private and not open to you: check the name'),
    (private, f'hf://{NAME}', 'is not there, or private and not open to you: check the name'),
    (gated, f'hf://{NAME}', 'is open only to whom its owner lets in'),
    (something_else, f'hf://{NAME}', 'is no packed network: it lacks config.json or model.safe'),
    (huge, f'hf://{NAME}', '1,000,000,000,000 bytes, and'),
    (broken, f'hf://{NAME}', 'the Hub answers 500'),
    (None, f'hf://{NAME}@v9', f'{NAME} has no revision v9'),
    (None, f'hf://{NAME}@', 'names no revision behind its @'),
    (None, f'hf://{NAME}@../x', 'names no revision behind its @'),
    (None, 'hf://net', 'net is no name of a repository: give OWNER/NAME'),
    (None, 'hf://a/b/c', 'a/b/c is no name of a repository'),
    (None, 'hf://../b', 'is no name of a repository'),
    (None, 'hf://a\x1b/b', r'a\\x1b/b is no name of a repository'),
  ],
)
def test_what_cannot_be_had_is_one_sentence(server, spoil, location, message, capfd):
  if spoil is not None:
    spoil(server)
  with pytest.raises(UserError, match=message) as caught:
    hub.fetch(location)
  assert str(caught.value).isprintable() and 'Fetching' not in capfd.readouterr().err


def test_a_private_one_is_open_to_its_owner(server, monkeypatch):
  private(server)
  monkeypatch.setenv('HF_TOKEN', hub_server.TOKEN)
  assert packed.load(hub.fetch(f'hf://{NAME}')).step == 6


def test_without_the_library_there_is_a_command_to_type(monkeypatch):
  monkeypatch.setitem(__import__('sys').modules, 'huggingface_hub', None)
  with pytest.raises(UserError, match=r"pip install 'pspnet_jax\[hub\]'"):
    hub.fetch(f'hf://{NAME}')


def test_what_is_pushed_comes_back(server, folder, monkeypatch):
  monkeypatch.setenv('HF_TOKEN', hub_server.TOKEN)
  (folder / 'private.txt').write_text('of no concern to others')
  try:
    address = hub.push(folder, 'owner/new', private=True)
  finally:
    (folder / 'private.txt').unlink()
  assert address == f'{server.address}/owner/new/commit/{hub_server.commit_id(0)}'
  repository = server.repositories['owner/new']
  assert repository.commits == [content_of(folder)] and repository.private
  assert hub.push(folder, 'owner/new')  # nothing has changed
  assert folders.load('hf://owner/new').step == 6


def test_a_push_that_is_refused_is_one_sentence_without_the_token(server, folder, monkeypatch):
  with pytest.raises(UserError, match='needs a token that may write: log in with'):
    hub.push(folder, NAME)
  assert not server.requests
  monkeypatch.setenv('HF_TOKEN', 'hf_another')
  with pytest.raises(UserError, match='the Hub does not let you write hf://owner/net') as caught:
    hub.push(folder, NAME)
  assert 'hf_another' not in str(caught.value)
  monkeypatch.setattr(constants, 'ENDPOINT', 'http://127.0.0.1:1')
  for token in ('hf_another', 'hf_an\x01other'):  # which no header can hold
    monkeypatch.setenv('HF_TOKEN', token)
    with pytest.raises(UserError, match='cannot be uploaded') as caught:
      hub.push(folder, NAME)
    assert 'other' not in str(caught.value)


def test_a_folder_that_claims_files_of_others_is_not_pushed(server, tmp_path, monkeypatch):
  monkeypatch.setenv('HF_TOKEN', hub_server.TOKEN)
  folder = packs.write(tmp_path / 'p')
  (tmp_path / 'secret.md').write_text('mine')
  packs.edit_config(folder, lambda values: values['files'].update({'../secret.md': '0'}))
  with pytest.raises(UserError, match='no name that pspnet pack would give'):
    hub.push(folder, NAME)
  assert len(server.repositories[NAME].commits) == 1


def test_its_log_is_as_loud_afterwards_as_before(server):
  before = logging.getLogger('huggingface_hub').level
  hub.fetch(f'hf://{NAME}')
  assert logging.getLogger('huggingface_hub').level == before
  assert packed_config.read(Path(hub.fetch(f'hf://{NAME}'))).step == 6
