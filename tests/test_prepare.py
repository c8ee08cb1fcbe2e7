"""The command: what it downloads, what it takes from a folder, and what an interruption leaves."""

import dataclasses
import fcntl
import functools
import hashlib
import http.server
import threading

import pytest

pytest.importorskip('tensorflow_datasets', reason='needs the extra tfds')

from pspnet_jax.data.builders import base
from pspnet_jax.data.folder import Folder
from pspnet_jax.data.sources import open_source
from pspnet_jax.errors import UserError
from pspnet_jax.prepare import BUILDERS, prepare, prepare_shapes
from tests import published, tiny
from tests.data.builders.shapes import box, coco, image, labelme, write

COUNTS = {'train': 5, 'val': 2}


@pytest.fixture
def small(monkeypatch):
  return published.accept(monkeypatch, 'ade20k', COUNTS)


@pytest.fixture
def server(tmp_path):
  """Serves the folder `remote` on this machine; `requests` counts what was asked for."""
  requests = []

  class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
      requests.append(self.path)

  (tmp_path / 'remote').mkdir()
  handler = functools.partial(Handler, directory=str(tmp_path / 'remote'))
  with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}', tmp_path / 'remote', requests
    server.shutdown()


def serve(monkeypatch, builder, url, sha1=''):
  changed = [
    dataclasses.replace(download, url=f'{url}/{download.file}', sha1=sha1)
    for download in builder.downloads
  ]
  monkeypatch.setattr(builder, 'downloads', tuple(changed))


def test_downloads_once_and_prepares_once(small, server, monkeypatch, tmp_path, capsys):
  url, remote, requests = server
  published.ade20k(remote)
  data = (remote / 'ADEChallengeData2016.zip').read_bytes()
  serve(monkeypatch, small, url, hashlib.sha1(data).hexdigest())
  folder = prepare('ade20k', tmp_path / 'data')
  assert len(open_source('ade20k', 'train', data_dir=str(tmp_path / 'data'))) == 5
  assert 'train: 5 examples' in capsys.readouterr().out
  asked = len(requests)
  assert asked
  assert prepare('ade20k', tmp_path / 'data') == folder
  assert 'prepared already' in capsys.readouterr().out and len(requests) == asked


def test_an_archive_that_is_not_the_published_one_is_refused(small, server, monkeypatch, tmp_path):
  url, remote, _ = server
  published.ade20k(remote)
  serve(monkeypatch, small, url, sha1='0' * 40)
  with pytest.raises(UserError, match=r'not the published ADEChallengeData2016\.zip.*remove it'):
    prepare('ade20k', tmp_path / 'data')
  assert not (tmp_path / 'data' / 'ade20k' / '1.0.0').exists()


def test_a_download_that_fails_says_how_to_do_without(small, server, monkeypatch, tmp_path):
  url, _, _ = server
  serve(monkeypatch, small, url)
  manual = tmp_path / 'data' / 'downloads' / 'manual'
  message = f'ADEChallengeData2016.zip from {url}/.* put it into {manual}'
  with pytest.raises(UserError, match=message):
    prepare('ade20k', tmp_path / 'data')


@pytest.mark.parametrize(
  ('dataset', 'file'),
  [
    ('cityscapes', 'leftImg8bit_trainvaltest.zip'),
    ('cityscapes', 'gtFine_trainvaltest.zip'),
    ('cityscapes_coarse', 'leftImg8bit_trainextra.zip'),
    ('cityscapes_coarse', 'gtCoarse.zip'),
  ],
)
def test_what_wants_a_login_is_asked_for_by_name(tmp_path, dataset, file):
  for download in published.builder_class(dataset).downloads:
    if download.file != file:
      (tmp_path / download.file).touch()
  message = rf'{file} .* missing: download it from https://www\.cityscapes.* put it into {tmp_path}'
  with pytest.raises(UserError, match=message):
    prepare(dataset, tmp_path / 'data', tmp_path)


def test_after_an_interruption_nothing_half_done_is_read_or_left(small, monkeypatch, tmp_path):
  published.ade20k(tmp_path)
  data, encode = tmp_path / 'data', base._encode
  parent = data / 'ade20k'

  def interrupted(pair):
    if pair.name == 'ADE_val_00000001':
      raise KeyboardInterrupt
    return encode(pair)

  monkeypatch.setattr(base, '_encode', interrupted)
  monkeypatch.setattr(small, 'shard_size', 1)
  with pytest.raises(KeyboardInterrupt):
    prepare('ade20k', data, tmp_path)
  assert [path.name for path in parent.iterdir()] == ['.lock']
  # Killed outright, it leaves a folder behind.
  (parent / 'incomplete.ABC123_1.0.0').mkdir()
  (parent / 'incomplete.ABC123_1.0.0' / 'ade20k-train.array_record-00000-of-00005').touch()
  with pytest.raises(UserError, match='no prepared data'):
    open_source('ade20k', 'train', data_dir=str(data))

  monkeypatch.setattr(base, '_encode', encode)
  prepare('ade20k', data, tmp_path)
  assert sorted(path.name for path in parent.iterdir()) == ['.lock', '1.0.0']
  assert len(open_source('ade20k', 'train', data_dir=str(data))) == 5


def test_two_at_once_do_not_spoil_each_other(small, tmp_path):
  published.ade20k(tmp_path)
  folder = tmp_path / 'data' / 'ade20k'
  folder.mkdir(parents=True)
  with (folder / '.lock').open('w') as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    with pytest.raises(UserError, match='another process'):
      prepare('ade20k', tmp_path / 'data', tmp_path)
  prepare('ade20k', tmp_path / 'data', tmp_path)


@pytest.mark.parametrize(
  ('images', 'said'),
  [
    ('b', 'no label'),
    ('bc', 'no label, and 1 more file has no partner'),
    ('bcd', 'no label, and 2 more files have no partner'),
  ],
)
def test_files_without_a_partner_are_counted(images, said):
  files = {name: f'{name}.jpg' for name in f'a{images}'}
  with pytest.raises(UserError, match=rf'^b\.jpg has {said}: download the archives again\.$'):
    base.check_partners(files, {'a': 'a.png'})


def test_the_published_counts():
  counts = {name: dict(published.builder_class(name).counts) for name in BUILDERS}
  assert counts == {
    'ade20k': {'train': 20210, 'val': 2000},
    'camvid': {'train': 367, 'val': 101, 'test': 233},
    'cityscapes': {'train': 2975, 'val': 500, 'test': 1525},
    'cityscapes_coarse': {'train_extra': 19997},
    'coco_stuff10k': {'train': 9000, 'val': 1000},
    'coco_stuff164k': {'train': 118287, 'val': 5000},
    'coco_voc': {'train': 118287, 'val': 5000},
    'mapillary': {'train': 18000, 'val': 2000},
    'pascal_context': {'train': 4998, 'val': 5105},
    'isaid': {'train': 33978, 'val': 11644},
    'loveda': {'train': 2522, 'val': 1669, 'test': 1796},
    'potsdam': {'train': 3456, 'val': 2016},
    'vaihingen': {'train': 344, 'val': 398},
    'voc2012': {'train': 1464, 'val': 1449, 'aug': 10582 - 1464},
  }


def test_the_command_fails_with_one_sentence(tmp_path):
  with pytest.raises(UserError, match="unknown data set 'kitti': known are ade20k, "):
    prepare('kitti', tmp_path)
  result = tiny.run('prepare', '--dataset=cityscapes', f'--data_dir={tmp_path}')
  assert result.returncode == 1 and 'leftImg8bit_trainvaltest.zip' in result.stderr
  assert 'Traceback' not in result.stderr


def test_shapes_are_drawn_by_the_command(tmp_path):
  image(tmp_path / 'photos/a.png')
  image(tmp_path / 'photos/b.png')
  shapes = (1, 3, [box(0, 0, 4, 6)], {}), (1, 7, [box(4, 0, 6, 6)], {})
  path = write(tmp_path / 'c.json', coco(*shapes))
  result = tiny.run(
    'prepare',
    '--dataset=coco',
    *(f'--input={path}', f'--images={tmp_path / "photos"}', f'--output={tmp_path / "out"}'),
    *('--split=train', '--background=ignored'),
  )
  assert result.returncode == 0, result.stderr
  assert '1 image(s) with 2 shape(s) of 2 classes are in' in result.stdout
  assert 'are not among the annotations: left out.' in result.stdout
  example = Folder(str(tmp_path / 'out'), 'train')[0]
  assert (example['label'] == [0, 0, 0, 0, 1, 1, 255, 255]).all()


def test_labelme_is_drawn_too(tmp_path, capsys):
  image(tmp_path / 'in/a.png')
  write(tmp_path / 'in/a.json', labelme(('car', [[0, 0], [8, 0], [8, 6], [0, 6]], 'polygon')))
  prepare_shapes('labelme', tmp_path / 'in', tmp_path / 'out')
  assert (Folder(str(tmp_path / 'out'), '')[0]['label'] == 1).all()
  assert '1 shape(s) of 2 classes' in capsys.readouterr().out


@pytest.mark.parametrize(
  ('form', 'options', 'message'),
  [
    ('coco', {}, 'give --images=DIR'),
    ('labelme', {'background': 'none'}, "--background=none: give 'class' or 'ignored'"),
    ('labelme', {'split': '../x'}, r'--split=\.\./x is no name of a folder'),
  ],
)
def test_what_drawing_needs_is_asked_for(tmp_path, form, options, message):
  with pytest.raises(UserError, match=message):
    prepare_shapes(form, tmp_path, tmp_path / 'out', **options)
