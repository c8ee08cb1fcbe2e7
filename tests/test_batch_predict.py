"""Jobs of many images: each is labelled once, whatever ends them."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from pspnet_jax import predictor
from pspnet_jax.batch_predict import batch_predict
from pspnet_jax.data.scenes import ContextScenes
from pspnet_jax.errors import Stopped, UserError
from pspnet_jax.predict import predict
from pspnet_jax.prediction import manifest
from pspnet_jax.runtime import storage
from pspnet_jax.runtime.folder_lock import FolderLock
from pspnet_jax.weights.checkpoints import Checkpoints
from tests import documents, tiny
from tests.exports.programs import program
from tests.prediction import bright

pytest.importorskip('pyarrow')


@pytest.fixture
def model(monkeypatch):
  monkeypatch.setattr(predictor, 'load', bright.load)
  return bright.Bright


@pytest.fixture
def photos(tmp_path):
  for name in ('s0.jpg', 's1.png', 'deep/s2.png', 's1.jpg'):
    bright.write_image(tmp_path / 'in' / name)
  return tmp_path / 'in'


def run(photos, **options):
  workdir = photos.parent / 'w'
  workdir.mkdir(exist_ok=True)
  options = {'images': photos, 'output': photos.parent / 'out'} | options
  batch_predict(workdir, options.pop('images'), options.pop('output'), **options)


@pytest.mark.parametrize('address', ['gs://scenes/w', 'hf://scenes/w'])
def test_workdirs_may_be_addresses(address, photos, monkeypatch):
  pytest.importorskip('gcsfs')
  asked = []
  monkeypatch.setattr(predictor, 'load', lambda x, **_: asked.append(x) or bright.Bright(photos))
  given = storage.location(address)  # of a bucket, a path that is none of pathlib's
  for workdir in (address, given, [address, photos.parent]):
    batch_predict(workdir, photos, photos.parent / 'out')
  assert asked == [[address], [address], [address, photos.parent]]


def files(folder):
  return {
    path.relative_to(folder).as_posix(): path.read_bytes()
    for path in folder.rglob('*')
    if path.is_file()
  }


def rows(output):
  return manifest.read(output / 'manifest.parquet').to_pylist()


def test_labels_are_those_of_predict_and_have_a_row_each(model, photos, tmp_path, capsys):
  (photos / 'bad.jpg').write_bytes(b'no image')
  (photos / 'notes.txt').touch()
  with pytest.raises(UserError, match='1 of 5 images could not be labelled'):
    run(photos, overlays=True)
  said = ' '.join(capsys.readouterr().out.split())
  assert 'Labelling with step 6 of a run. A and B call a class by other words.' in said
  assert '1 file(s) left aside: 1 .txt.' in said and '4 image(s) labelled in' in said
  assert 'images/s; 1 failed.' in said and 'bad.jpg is not an image' in said
  with pytest.raises(UserError):
    predict([tmp_path / 'w'], photos, tmp_path / 'predicted')
  for kind in ('labels', 'overlays'):
    assert files(tmp_path / 'out' / kind) == files(tmp_path / 'predicted' / kind)
  found = {row['path']: row for row in rows(tmp_path / 'out')}
  assert [*found] == ['bad.jpg', 'deep/s2.png', 's0.jpg', 's1.jpg', 's1.png']
  assert found['s1.jpg']['output'] == 'labels/s1.jpg.png'  # beside that of s1.png
  assert 'is not an image' in found['bad.jpg']['error'] and found['bad.jpg']['output'] is None
  row = found['s0.jpg']
  assert (row['height'], row['width'], row['attempts']) == (6, 8, 1)
  assert sum(row['pixels']) + row['ignored'] == 48 and row['seconds'] >= 0
  assert row['bytes'] == (photos / 's0.jpg').stat().st_size


def test_the_manifest_is_read_as_the_page_says(model, photos, monkeypatch):
  (photos / 'bad.jpg').write_bytes(b'no image')
  with pytest.raises(UserError):
    run(photos, output=photos.parent / 'OUT')
  monkeypatch.chdir(photos.parent)
  [block] = [x.text for x in documents.code() if x.page == 'docs/batch_predicting.md']
  page: dict = {}
  exec(block, page)
  assert page['names'] == ['dark', 'bright'] and page['failed']['path'].to_pylist() == ['bad.jpg']


def test_what_is_done_is_not_done_again(model, photos, tmp_path, monkeypatch, capsys):
  run(photos)
  before = files(tmp_path / 'out')
  monkeypatch.setattr(model, 'stream', None)  # fails where it is called
  run(photos)
  said = capsys.readouterr().out
  assert '4 of 4 image(s) are done already.' in said and 'there is nothing left to label' in said
  assert files(tmp_path / 'out') == before


def test_a_job_that_is_interrupted_goes_on(model, photos, tmp_path, monkeypatch, capsys):
  stream = model.stream

  def interrupted(self, images):
    for count, found in enumerate(stream(self, images)):
      if count == 2:
        raise KeyboardInterrupt
      yield found

  monkeypatch.setattr(model, 'stream', interrupted)
  with pytest.raises(
    Stopped, match=r'interrupted after 2 of 4 images, .*: the same command goes on'
  ):
    run(photos)
  assert not (tmp_path / 'out' / 'manifest.parquet').exists()
  monkeypatch.setattr(model, 'stream', stream)
  run(photos)
  said = capsys.readouterr().out
  assert '2 of 4 image(s) are done already.' in said and '2 image(s) labelled in' in said
  assert len(rows(tmp_path / 'out')) == 4


def test_a_label_that_lost_its_row_is_kept(model, photos, tmp_path, capsys):
  run(photos)
  whole = rows(tmp_path / 'out')
  (tmp_path / 'out' / 'manifest.parquet').unlink()
  (tmp_path / 'out' / 'labels' / '.x.png.0123.part').touch()
  run(photos)
  assert '4 label(s) were there, without a row, and are kept.' in capsys.readouterr().out
  times = {'seconds': None}
  assert [row | times for row in rows(tmp_path / 'out')] == [row | times for row in whole]
  assert not [*(tmp_path / 'out' / 'labels').glob('.*')]


def test_results_among_the_input_are_left_aside(model, photos, capsys):
  run(photos, images=photos / '**' / '*.png', output=photos)
  run(photos, images=photos / '**' / '*.png', output=photos)
  assert len(rows(photos)) == 2
  assert '2 image(s) left aside, as results of an earlier run.' in capsys.readouterr().out
  with pytest.raises(UserError, match='holds no image but results in'):
    run(photos, images=photos / 'labels', output=photos)


def test_what_was_not_written_by_a_job_is_not_replaced(model, photos, tmp_path):
  bright.write_image(tmp_path / 'out' / 'labels' / 's0.png')
  with pytest.raises(UserError, match=r's0\.png is there and was not written by predict'):
    run(photos)
  assert not (tmp_path / 'out' / 'manifest.parquet').exists()


def test_another_network_or_threshold_does_not_go_on(model, photos, monkeypatch):
  run(photos)
  with pytest.raises(UserError, match='labels of another network, protocol or threshold'):
    run(photos, min_confidence=0.5)
  monkeypatch.setattr(model, 'identity', lambda self: 'of step 7')
  with pytest.raises(UserError, match='labels of another network, protocol or threshold'):
    run(photos)


def test_two_jobs_do_not_write_to_one_folder(model, photos, tmp_path):
  with (
    FolderLock(tmp_path / 'out', ''),
    pytest.raises(UserError, match=f'{tmp_path / "out"} is being labelled into by'),
  ):
    run(photos)


@pytest.mark.parametrize(
  ('options', 'says'),
  [
    ({'min_confidence': 2}, 'from 0 to 1'),
    ({'workers': 2}, 'give --engine=ray with them'),
    ({'address': 'head:6379'}, 'give --engine=ray with them'),
    ({'engine': 'ray', 'workers': 0}, '--workers=0: give 1 or more'),
    ({'images': Path('nowhere/*.jpg')}, 'matches no image'),
    ({'images': 'gs://bucket/in'}, 'is an address'),
  ],
)
def test_what_cannot_be_done_is_refused_first(model, photos, tmp_path, options, says):
  with pytest.raises(UserError, match=says):
    run(photos, **options)
  assert not (tmp_path / 'out').exists()


@pytest.mark.slow
def test_a_job_that_is_killed_goes_on_and_labels_as_predict_does(tmp_path):
  made = program(probabilities=False, bins=(1, 2))
  with Checkpoints(tmp_path / 'w') as checkpoints:
    checkpoints.save(7, {'params': made.params, 'batch_stats': made.batch_stats}, made.card)
  for i, scene in enumerate(ContextScenes('val', size=(33, 49), length=200)):
    path = tmp_path / 'in' / str(i % 3) / f'{i}.png'
    path.parent.mkdir(parents=True, exist_ok=True)
    bright.Image.fromarray(scene['image']).save(path)
  out = tmp_path / 'out'
  arguments = (f'--workdir={tmp_path / "w"}', f'--input={tmp_path / "in"}')
  process = subprocess.Popen(
    tiny.command('batch_predict', *arguments, f'--output={out}'),
    cwd=tiny.ROOT,
    env=tiny.environment(),
    stdout=subprocess.DEVNULL,
  )
  while process.poll() is None and len([*out.glob('labels/*/*.png')]) < 5:
    time.sleep(0.05)
  os.kill(process.pid, signal.SIGKILL)
  process.wait()
  there = len([*out.glob('labels/*/*.png')])
  assert 5 <= there < 200
  again = tiny.run('batch_predict', *arguments, f'--output={out}')
  assert again.returncode == 0, again.stderr
  assert f'{there} label(s) were there' in again.stdout
  assert f'{200 - there} image(s) labelled' in again.stdout
  plain = tiny.run('predict', *arguments, f'--output={tmp_path / "predicted"}', '--nooverlays')
  assert plain.returncode == 0, plain.stderr
  assert files(out / 'labels') == files(tmp_path / 'predicted' / 'labels')
  assert [row['error'] for row in rows(out)] == [None] * 200
