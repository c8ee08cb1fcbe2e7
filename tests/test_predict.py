"""Prediction on folders as people have them: nothing is left out without a word."""

import signal
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from pspnet_jax import predict as command
from pspnet_jax import predictor
from pspnet_jax.data.palettes import default_palette
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.data.video import open_video
from pspnet_jax.errors import Stopped, UserError
from pspnet_jax.inference.ensemble import Prediction
from pspnet_jax.predict import predict
from pspnet_jax.prediction import labelling
from pspnet_jax.prediction.video_files import video_file


class Model:
  """Labels everything as class 0."""

  spec = DatasetSpec(('sky', 'road'), default_palette(2))
  card, origin = SimpleNamespace(exif='upright'), 'step 6 of a run'
  labelled: ClassVar = []  # the shapes of images
  notes = ('A and B call a class by other words.',)

  def identity(self):
    return self.origin

  def stream(self, images):
    for tag, image in images:
      Model.labelled.append(image.shape)
      yield tag, np.zeros(image.shape[:2], np.uint8)

  def predictions(self, images, *, probabilities, members):
    """The left half is sure, and the second of two networks says road."""
    for tag, image in images:
      height, width = image.shape[:2]
      label = np.zeros((height, width), np.uint8)
      confidence = np.full(label.shape, 0.5, np.float32)
      confidence[:, : width // 2] = 0.75
      both = np.stack([confidence, 1 - confidence], -1) if probabilities else None
      yield tag, Prediction(label, confidence, both, (label, label + 1) if members else ())


@pytest.fixture(autouse=True)
def _model(monkeypatch):
  monkeypatch.setattr(predictor, 'load', lambda *_, **__: Model())
  monkeypatch.setattr(Model, 'labelled', [])


def write_image(path, grey=99):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(np.full((6, 8, 3), grey, np.uint8)).save(path)


def write_video(path, frames, size):
  with video_file(path, 10) as add:
    for i in range(frames):
      add(np.full((*size, 3), 20 * i, np.uint8))
  path.write_bytes(path.read_bytes().replace(b'pspnet_jax', b'a camera  '))  # not ours


@pytest.fixture
def photos(tmp_path):
  for name in ('s0.jpg', 's1.jpg', 'deep/s2.png'):
    write_image(tmp_path / 'photos' / name)
  return tmp_path / 'photos'


def run(images, output, **asked):
  predict('workdir', images, output, **asked)


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
  said = capsys.readouterr().out
  assert '3 image(s) labelled' in said
  assert ('3 image(s) kept' in said) == (times == 2)


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


def test_a_signal_ends_a_run_that_keeps_everything(photos, tmp_path, monkeypatch):
  run(photos, tmp_path / 'out')
  read, told = labelling.in_order, []

  def in_order(function, items):
    for found in read(function, items):
      if not told:
        told.append(found)
        signal.raise_signal(signal.SIGINT)
      yield found

  monkeypatch.setattr(labelling, 'in_order', in_order)
  with pytest.raises(Stopped, match='interrupted after 0 of 3 images') as raised:
    run(photos, tmp_path / 'out')
  assert raised.value.status == 128 + signal.SIGINT


def test_names_that_are_no_text_are_labelled(tmp_path, capsys):
  name = b'caf\xe9.jpg'.decode(errors='surrogateescape')
  write_image(tmp_path / 'in' / name)
  (tmp_path / 'in' / 'x\udce9.jpg').touch()
  with pytest.raises(UserError, match='1 of 2'):
    run(tmp_path / 'in', tmp_path / 'out\x1b')
  assert labels(tmp_path / 'out\x1b') == ['caf\udce9.png']
  assert r'x\udce9.jpg is empty' in capsys.readouterr().out


def test_a_folder_goes_on_where_nothing_has_changed(photos, tmp_path, monkeypatch, capsys):
  out = tmp_path / 'out'
  run(photos, out)
  (out / 'overlays' / 's0.png').unlink()
  write_image(photos / 's1.jpg', grey=9)
  write_image(photos / 'new.png')
  run(photos, out)
  assert '1 image(s) kept' in capsys.readouterr().out
  assert len(Model.labelled) == 3 + 3
  monkeypatch.setattr(Model, 'origin', 'step 7 of a run')
  run(photos, out, min_confidence=0.1)
  assert 'kept' not in capsys.readouterr().out


def test_nothing_is_kept_of_a_network_of_ones_own_whose_code_may_have_changed(photos, tmp_path):
  for times, model in enumerate(['own:Net', 'own:Net', None], 1):
    run(photos, tmp_path / 'out', model=model)
    assert len(Model.labelled) == 3 * times
  run(photos, tmp_path / 'out')
  assert len(Model.labelled) == 9


def test_a_label_that_was_damaged_is_made_anew(photos, tmp_path):
  out = tmp_path / 'out'
  run(photos, out)
  path = out / 'labels' / 's0.png'
  whole = path.read_bytes()
  path.write_bytes(whole[:-14])
  run(photos, out)
  assert path.read_bytes() == whole and len(Model.labelled) == 4


def test_unsure_pixels_belong_to_no_class_and_are_counted(photos, tmp_path, capsys):
  run(photos, tmp_path, min_confidence=0.6, areas=True)
  label = np.asarray(Image.open(tmp_path / 'labels' / 's0.png'))
  assert (label[:, :4] == 0).all() and (label[:, 4:] == 255).all()
  assert '50.0 % of the pixels are below --min_confidence=0.6' in capsys.readouterr().out
  first, *rows = (tmp_path / 'areas.csv').read_text().splitlines()
  assert first == 'image,width,height,sky,road,ignored'
  assert rows[0] == 'deep/s2.png,8,6,0.500000,0.000000,0.500000' and len(rows) == 3
  before = (tmp_path / 'areas.csv').read_bytes()
  run(photos, tmp_path, min_confidence=0.6, areas=True)  # kept, and measured from what is there
  said = capsys.readouterr().out
  assert '50.0 %' in said and '3 image(s) kept' in said
  assert (tmp_path / 'areas.csv').read_bytes() == before


@pytest.mark.parametrize('value', [-0.1, 1.5, float('nan')])
def test_a_threshold_that_is_no_probability_is_refused(photos, tmp_path, value):
  with pytest.raises(UserError, match=r'--min_confidence=.*from 0 to 1'):
    run(photos, tmp_path / 'out', min_confidence=value)
  assert not (tmp_path / 'out').exists()


def test_all_that_is_asked_is_written_and_read_again(photos, tmp_path, capsys):
  out = tmp_path / 'out'
  asked = {'confidence': True, 'probabilities': True, 'side_by_side': True}
  predict(['runs/a', 'runs/b'], photos, out, **asked)
  grey = Image.open(out / 'confidence' / 's0.png')
  assert grey.mode == 'L' and np.asarray(grey)[0].tolist() == [191] * 4 + [128] * 4
  with np.load(out / 'probabilities' / 'deep' / 's2.npz') as arrays:
    assert arrays['probabilities'].dtype == np.float16
    assert arrays['probabilities'][0, 0].tolist() == [0.75, 0.25]
    assert arrays['class_names'].tolist() == ['sky', 'road']
  three = np.asarray(Image.open(out / 'side_by_side' / 's0.png'))
  predict('runs/a', photos, tmp_path / 'one', side_by_side=True)
  two = np.asarray(Image.open(tmp_path / 'one' / 'side_by_side' / 's0.png'))
  assert three.shape[1] > 1.5 * two.shape[1]
  said = capsys.readouterr().out
  assert 'labels, overlays, confidence, probabilities and side_by_side are in' in said
  predict(['runs/a', 'runs/b'], photos, out, **asked)
  assert '3 image(s) kept' in capsys.readouterr().out


def test_networks_of_the_hub_are_called_by_their_names(photos, tmp_path):
  predict('hf://owner/net', photos, tmp_path / 'out')
  assert labels(tmp_path / 'out') == PHOTOS
  assert command._titles(['hf://owner/net', Path('runs/a')]) == ['net', 'a']
  assert command._titles(['hf://a/net@v1/x', 'hf://b/net']) == ['net@v1/x', 'net']
  assert command._titles(['hf://a/net', 'hf://b/net']) == ['hf://a/net', 'hf://b/net']


@pytest.mark.parametrize('name', ['probabilities/s0.npz', 'confidence/s0.png', 'areas.csv'])
def test_no_file_of_others_is_replaced(photos, tmp_path, name):
  path = tmp_path / 'out' / name
  path.parent.mkdir(parents=True)
  path.write_bytes(b'mine')
  with pytest.raises(UserError, match='give another --output'):
    run(photos, tmp_path / 'out', confidence=True, probabilities=True, areas=True)
  assert path.read_bytes() == b'mine'


def test_a_video_is_labelled_into_a_video(tmp_path, capsys):
  path = tmp_path / 'drive.mp4'
  write_video(path, frames=5, size=(60, 90))
  run(path, tmp_path / 'out', areas=True, side_by_side=True)
  said = capsys.readouterr().out
  assert '5 frame(s) labelled in' in said and 'frames/s' in said
  with open_video(tmp_path / 'out' / 'overlays' / 'drive.mp4') as (about, frames):
    shapes = [frame.shape for frame in frames]
  assert about.frames_per_second == 10 and len(shapes) == 5
  assert shapes[0][0] > 60 and shapes[0][1] == 90  # the classes stand below
  rows = (tmp_path / 'out' / 'areas.csv').read_text().splitlines()
  assert len(rows) == 6 and rows[5] == 'drive.mp4 5,90,60,1.000000,0.000000,0.000000'
  run(path, tmp_path / 'out')  # over its own


def test_what_a_video_has_not_is_refused_in_a_sentence(tmp_path):
  path = tmp_path / 'drive.mp4'
  write_video(path, frames=2, size=(32, 32))
  with pytest.raises(UserError, match='--confidence is of images'):
    run(path, tmp_path / 'out', confidence=True)
  with pytest.raises(UserError, match='needs --areas or --side_by_side'):
    run(path, tmp_path / 'out', overlays=False)
  (tmp_path / 'out' / 'overlays').mkdir(parents=True)
  (tmp_path / 'out' / 'overlays' / 'drive.mp4').write_bytes(path.read_bytes())
  with pytest.raises(UserError, match='give another --output'):
    run(path, tmp_path / 'out')


@pytest.mark.parametrize('number', [None, signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_video_leaves_nothing(tmp_path, monkeypatch, number):
  def stream(self, images):
    for tag, image in images:
      if number is not None:
        signal.raise_signal(number)
      yield tag, np.zeros(image.shape[:2], np.uint8)
      raise KeyboardInterrupt

  monkeypatch.setattr(Model, 'stream', stream)
  path = tmp_path / 'drive.mp4'
  write_video(path, frames=3, size=(32, 32))
  before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # and not the end of the tests
  try:
    with pytest.raises(Stopped, match='after 1 frames') as raised:
      run(path, tmp_path / 'out')
  finally:
    signal.signal(signal.SIGTERM, before)
  assert raised.value.status == 128 + (number or signal.SIGINT)
  assert [*(tmp_path / 'out' / 'overlays').iterdir()] == []
