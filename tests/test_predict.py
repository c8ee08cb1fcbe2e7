"""Prediction on folders as people have them: nothing is left out without a word."""

import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from pspnet_jax import predictor
from pspnet_jax.data.palettes import default_palette
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.errors import Stopped, UserError
from pspnet_jax.predict import predict


class Model:
  """Labels everything as class 0."""

  spec = DatasetSpec(('sky', 'road'), default_palette(2))
  card, origin = SimpleNamespace(exif='upright'), 'step 6 of a run'
  notes = ('A and B call a class by other words.',)

  def stream(self, images):
    for tag, image in images:
      yield tag, np.zeros(image.shape[:2], np.uint8)


@pytest.fixture(autouse=True)
def _model(monkeypatch):
  monkeypatch.setattr(predictor, 'load', lambda *_, **__: Model())


def write_image(path):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(np.full((6, 8, 3), 99, np.uint8)).save(path)


@pytest.fixture
def photos(tmp_path):
  for name in ('s0.jpg', 's1.jpg', 'deep/s2.png'):
    write_image(tmp_path / 'photos' / name)
  return tmp_path / 'photos'


def run(images, output):
  predict('workdir', images, output)


def labels(output):
  folder = output / 'labels'
  return sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*.png'))


def test_what_there_is_to_know_of_the_networks_is_said(photos, tmp_path, capsys):
  run(photos, tmp_path / 'out')
  assert 'A and B call a class by other words.' in capsys.readouterr().out


PHOTOS = ['deep/s2.png', 's0.png', 's1.png']


@pytest.mark.parametrize('times', [1, 2])
@pytest.mark.parametrize(
  ('images', 'output'),
  [
    ('photos', 'photos'),
    ('photos', '.'),
    ('photos', 'photos/deep'),
    ('photos', 'photos/out'),
    ('{}/photos', 'photos'),
    ('photos', '{}/photos'),
    ('link', 'photos'),
    ('photos', 'link'),
    ('photos/.', 'link/../photos'),
  ],
)
def test_the_output_may_lie_anywhere(photos, tmp_path, monkeypatch, images, output, times, capsys):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'link').symlink_to('photos')
  images, output = (Path(name.format(tmp_path)) for name in (images, output))
  for _ in range(times):
    run(images, output)
  assert labels(output) == PHOTOS
  assert '3 image(s) labelled' in capsys.readouterr().out


def test_a_file_may_be_labelled_into_its_folder(photos, monkeypatch):
  monkeypatch.chdir(photos)
  run(Path('s0.jpg'), Path('.'))
  assert labels(photos) == ['s0.png']


def test_a_folder_of_results_alone_holds_no_image(photos, tmp_path):
  run(photos, tmp_path / 'out')
  with pytest.raises(UserError, match='holds no image but those in labels and overlays'):
    run(tmp_path / 'out', tmp_path / 'out')


def test_what_is_left_aside_is_counted(photos, tmp_path, capsys):
  for name in ('a.heic', 'b.heic', 'deep/c.mp4', '.hidden/x.jpg', '.ipynb_checkpoints/y.png'):
    (photos / name).parent.mkdir(exist_ok=True)
    (photos / name).touch()
  run(photos, photos)
  assert '3 file(s) left aside: 2 .heic, 1 .mp4.' in capsys.readouterr().out
  run(photos, photos)
  out = capsys.readouterr().out
  assert '3 file(s) left aside' in out and '6 image(s) left aside in labels' in out
  assert labels(photos) == PHOTOS


def test_one_bad_file_does_not_end_a_folder(photos, tmp_path, capsys):
  (photos / 'bad\x1b[2J.jpg').write_bytes(b'no image')
  (photos / 'empty.png').touch()
  with pytest.raises(UserError, match='2 of 5 images could not be labelled'):
    run(photos, tmp_path / 'out')
  out = capsys.readouterr().out
  assert labels(tmp_path / 'out') == PHOTOS and '3 image(s) labelled' in out
  assert r'bad\x1b[2J.jpg is not an image that can be decoded' in out
  assert 'empty.png is empty' in out and '\x1b' not in out


def test_many_bad_files_are_counted(tmp_path, capsys):
  for i in range(23):
    (tmp_path / f'{i:02d}.jpg').touch()
  with pytest.raises(UserError, match='23 of 23'):
    run(tmp_path, tmp_path / 'out')
  lines = capsys.readouterr().out.splitlines()
  assert sum('is empty' in line for line in lines) == 20 and lines[-1] == '... and 3 more.'


def test_a_bad_file_given_by_name_is_the_error(tmp_path):
  (tmp_path / 'a.jpg').touch()
  with pytest.raises(UserError, match=r'a\.jpg is empty'):
    run(tmp_path / 'a.jpg', tmp_path / 'out')


@pytest.mark.parametrize('images', ['data/images', 'data/labels', 'data/labels/a.png'])
def test_what_others_made_is_not_replaced(tmp_path, images):
  for name in ('images/a.jpg', 'labels/a.png'):
    write_image(tmp_path / 'data' / name)
  before = (tmp_path / 'data' / 'labels' / 'a.png').read_bytes()
  with pytest.raises(UserError, match=r'give another --'):
    run(tmp_path / images, tmp_path / 'data')
  assert (tmp_path / 'data' / 'labels' / 'a.png').read_bytes() == before


def test_an_interrupted_run_keeps_what_it_wrote(photos, tmp_path, monkeypatch):
  def stream(self, images):
    for count, (tag, image) in enumerate(images):
      if count == 2:
        raise KeyboardInterrupt
      yield tag, np.zeros(image.shape[:2], np.uint8)

  monkeypatch.setattr(Model, 'stream', stream)
  with pytest.raises(Stopped, match='interrupted after 2 of 3 images') as raised:
    run(photos, tmp_path / 'out')
  assert raised.value.status == 128 + signal.SIGINT and len(labels(tmp_path / 'out')) == 2


def test_names_that_are_no_text_are_labelled(tmp_path, capsys):
  name = b'caf\xe9.jpg'.decode(errors='surrogateescape')
  write_image(tmp_path / 'in' / name)
  (tmp_path / 'in' / 'x\udce9.jpg').touch()
  with pytest.raises(UserError, match='1 of 2'):
    run(tmp_path / 'in', tmp_path / 'out\x1b')
  assert labels(tmp_path / 'out\x1b') == ['caf\udce9.png']
  assert r'x\udce9.jpg is empty' in capsys.readouterr().out
