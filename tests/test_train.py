"""The commands end to end, on a network that trains in seconds."""

import json
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import pspnet_jax
from pspnet_jax.errors import UserError
from pspnet_jax.inference.card import Card
from pspnet_jax.train import train
from pspnet_jax.weights.checkpoints import Checkpoints
from tests import processes, tiny
from tests.command_lines import Job, results

pytestmark = pytest.mark.usefixtures('one_device')


def weights(workdir):
  found = Checkpoints(workdir, read_only=True).load('latest', Card.build_network)
  return found.step, (found.params, found.batch_stats)


def answers(*lines):
  """Runs commands one after the other; returns the exit status and the output of each."""
  return results([Job(line, str(tiny.ROOT), run=True) for line in lines])


def assert_identical(a, b):
  jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  """A workdir after an uninterrupted run of the command on one device."""
  folder = tmp_path_factory.mktemp('finished')
  workdir = folder / 'run'
  result = tiny.run('train', f'--config={tiny.config_file(folder)}', f'--workdir={workdir}')
  assert result.returncode == 0, result.stderr
  return workdir, result.stdout


def test_console_says_what_a_person_wants_to_know(finished):
  workdir, out = finished
  assert 'PSPNet-10' in out and '24 training images' in out
  for word in ('step 2/6', 'loss', 'mIoU', 'images/s', 'lr', 'left', 'skyscraper', 'mAcc', 'aAcc'):
    assert word in out
  assert f'pspnet_jax.predict --workdir={workdir}' in out
  assert '\x1b' not in out and 'absl' not in out


def test_workdir_holds_logs_config_and_checkpoints(finished):
  workdir, _ = finished
  records = [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]
  assert [r['step'] for r in records] == [2, 4, 6, 6]
  assert records[0].keys() >= {'train/loss', 'train/mIoU', 'learning_rate', 'images_per_second'}
  assert 'val/mIoU' in records[-1]
  assert records[-1].keys() >= {'val/loss', 'val_IoU/skyscraper', 'time/evaluation_seconds'}
  assert (workdir / 'config.json').is_file()
  assert Checkpoints(workdir, read_only=True).latest_step == 6


def test_tensorboard_finds_its_pages_in_groups(finished):
  events = EventAccumulator(str(finished[0]), size_guidance={'tensors': 0})
  events.Reload()
  tags = {
    kind: {tag.partition('/')[0] for tag in events.Tags()[kind]}
    for kind in ('scalars', 'images', 'tensors')
  }
  assert tags == {
    'scalars': {'train', 'val', 'val_IoU', 'time'},
    'images': {'val'},
    'tensors': {'config', 'parameters', 'val'},  # texts
  }
  [config] = events.Tensors('config/text_summary')
  assert b'\n    --config.crop_size=33,49\n' in config.tensor_proto.string_val[0]


def test_evaluate_repeats_the_scores_of_training(finished, tmp_path):
  workdir, _ = finished
  evaluation = 'evaluate', f'--workdir={workdir}'
  sliding = '--config.eval.window=33,33', '--config.eval.flip=True', f'--output={tmp_path}'
  (status, plain), (again, slid) = answers(evaluation, (*evaluation, *sliding))
  assert status == again == 0, (plain, slid)
  scores = json.loads((workdir / 'evaluation' / 'scores.json').read_text())
  record = json.loads((workdir / 'metrics.jsonl').read_text().splitlines()[-1])
  assert scores['mIoU'] == record['val/mIoU']
  assert np.sum(scores['confusion']) == 5 * 33 * 49  # every pixel of every example once
  assert (workdir / 'evaluation' / 'predictions.png').is_file()
  assert 'left out of the means' in plain
  assert 'windows of 33×33, averaged with the mirror image' in slid


def test_predict_labels_a_folder(finished, tmp_path):
  workdir, _ = finished
  rng = np.random.default_rng(0)
  (tmp_path / 'in' / 'deep').mkdir(parents=True)
  for name, size in (('a.jpg', (40, 60)), ('deep/b.png', (20, 21)), ('a.png', (90, 70))):
    pixels = rng.integers(0, 255, (*size, 3), np.uint8)
    pspnet_jax.data.decode.Image.fromarray(pixels).save(tmp_path / 'in' / name)
  predict = 'predict', f'--workdir={workdir}', f'--input={tmp_path / "in"}'
  elsewhere, inside = (f'--output={folder}' for folder in (tmp_path / 'out', tmp_path / 'in/out'))
  # What was written does not count as input, even when it lies within it.
  (*good, (status, refused)) = answers(
    (*predict, elsewhere),
    (*predict, inside),
    (*predict, inside, '--config.eval.flip=True'),
    (*predict, elsewhere, '--config.batch_size=2'),
  )
  assert [(status, '3 image(s)' in said) for status, said in good] == [(0, True)] * 3, good
  assert status == 1 and 'does not bear on prediction' in refused
  for kind in ('labels', 'overlays'):
    found = sorted(
      str(p.relative_to(tmp_path / 'out' / kind)) for p in (tmp_path / 'out' / kind).rglob('*.png')
    )
    assert found == ['a.jpg.png', 'a.png.png', 'deep/b.png']
  # Python does the same in three lines.
  model = pspnet_jax.load(workdir)
  label = model(tmp_path / 'in' / 'deep' / 'b.png')
  written = pspnet_jax.data.decode.Image.open(tmp_path / 'out' / 'labels' / 'deep' / 'b.png')
  np.testing.assert_array_equal(label, np.asarray(written))
  assert written.mode == 'P' and label.shape == (20, 21)


def test_a_finished_run_is_not_trained_again(finished, tmp_path):
  workdir, _ = finished
  before = (workdir / 'metrics.jsonl').read_text()
  result = tiny.run('train', f'--config={tiny.config_file(tmp_path)}', f'--workdir={workdir}')
  assert result.returncode == 0 and 'All 6 steps are done' in result.stdout
  assert (workdir / 'metrics.jsonl').read_text() == before


@pytest.mark.slow
def test_killed_three_times_and_resumed_ends_bit_for_bit_the_same(finished, tmp_path):
  arguments = f'--config={tiny.config_file(tmp_path)}', f'--workdir={tmp_path / "run"}'
  rng = random.Random(0)
  for kill in range(3):
    process = subprocess.Popen(
      tiny.command('train', *arguments),
      stdout=subprocess.PIPE,
      stderr=subprocess.DEVNULL,
      text=True,
      cwd=tiny.ROOT,
      env=tiny.environment(),
    )
    for line in process.stdout:  # until the first report, then any moment
      if line.startswith('step') or kill == 0:
        break
    time.sleep(rng.uniform(0, 1.0))
    process.kill()
    process.communicate()
  result = tiny.run('train', *arguments)
  assert result.returncode == 0, result.stderr
  step, resumed = weights(tmp_path / 'run')
  assert step == 6
  assert_identical(resumed, weights(finished[0])[1])
  records = [json.loads(x) for x in (tmp_path / 'run' / 'metrics.jsonl').read_text().splitlines()]
  assert [r['step'] for r in records] == [2, 4, 6, 6]


def test_sigterm_saves_and_says_what_to_do(finished, tmp_path):
  arguments = f'--config={tiny.config_file(tmp_path)}', f'--workdir={tmp_path / "run"}'
  process = subprocess.Popen(
    tiny.command('train', *arguments, '--config.log_every=1', '--config.total_steps=100000'),
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    cwd=tiny.ROOT,
    env=tiny.environment(),
  )
  for line in process.stdout:
    if line.startswith('step'):
      break
  # A second run in the same workdir is refused, and does not disturb the first.
  with pytest.raises(UserError, match=f'is in use by process {process.pid} on '):
    Checkpoints(tmp_path / 'run')
  process.send_signal(signal.SIGTERM)
  _, error = process.communicate(timeout=120)
  assert process.returncode == 143
  answer, error = error.splitlines()
  assert re.fullmatch(
    'SIGTERM: stopping after this (step|checkpoint is saved); a second one stops at once.', answer
  )
  assert error.startswith('Error: SIGTERM: step ') and 'run the same command' in error
  step = Checkpoints(tmp_path / 'run', read_only=True).latest_step
  assert f'step {step} of 100000 is saved' in error


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_sound_checkpoint(finished, tmp_path):
  shutil.copytree(finished[0], tmp_path / 'run')
  c = tiny.config(tmp_path, optimizer__base_lr=1e30, total_steps=10)
  with pytest.raises(
    UserError, match=r'between steps 7 and 8; that was after going on from step 6: begin'
  ):
    train(c, tmp_path / 'run')
  step, (params, _) = weights(tmp_path / 'run')
  assert step == 6 and all(np.isfinite(x).all() for x in params.values())


def test_eight_devices_train_one_network(tmp_path):
  result = tiny.run(
    'train', f'--config={tiny.config_file(tmp_path)}', f'--workdir={tmp_path}', devices=8
  )
  assert result.returncode == 0, result.stderr
  assert 'on 8 × cpu' in result.stdout


@pytest.mark.slow
def test_two_processes_train_one_network(finished, tmp_path):
  """Both start from the weights of another run, which both have to read."""
  run = (f'--config={tiny.config_file(tmp_path)}', f'--config.init_from={finished[0]}')

  def command(port, i):
    workdir = f'--workdir={tmp_path / "two"}'
    return tiny.command('train', *run, *together(2, port, i), '--config.threads=1', workdir)

  outs = tiny.at_once(command, timeout=240)
  assert 'on 2 × cpu' in outs[0] and 'step' not in outs[1]
  assert f'Starting from {finished[0]}.' in outs[0] and 'Starting' not in outs[1]
  one = tiny.run('train', *run, f'--workdir={tmp_path / "one"}', devices=2)
  assert one.returncode == 0, one.stderr
  # Sums over devices are taken in another order: float32 rounding, six steps of it.
  for a, b in zip(weights(tmp_path / 'two')[1], weights(tmp_path / 'one')[1], strict=True):
    for name in a:
      np.testing.assert_allclose(a[name], b[name], rtol=1e-3, atol=1e-4, err_msg=name)
  counts = [
    json.loads((tmp_path / n / 'metrics.jsonl').read_text().splitlines()[-1])
    for n in ('one', 'two')
  ]
  assert counts[0]['val/aAcc'] == pytest.approx(counts[1]['val/aAcc'], abs=1e-2)


def together(count, port, index):
  return f'--coordinator=127.0.0.1:{port}', f'--num_processes={count}', f'--process_id={index}'


@pytest.mark.slow
def test_four_then_one_then_two_processes_train_as_one_does(tmp_path):
  """A low learning rate keeps the rounding of sums in another order from growing."""
  run = (
    f'--config={tiny.config_file(tmp_path)}',
    '--config.optimizer.base_lr=1e-4',
    '--config.threads=1',
  )
  one = tiny.run('train', *run, f'--workdir={tmp_path / "one"}')
  assert one.returncode == 0, one.stderr
  run = (*run, f'--workdir={tmp_path / "many"}', '--config.callbacks=tests.own:EndsAtTheFirstLog')
  for count, until in ((4, 2), (1, 4), (2, 6)):

    def command(port, i, count=count):
      return tiny.command('train', *run, *(together(count, port, i) if count > 1 else ()))

    tiny.at_once(command, timeout=240, count=count)
    assert weights(tmp_path / 'many')[0] == until
  for a, b in zip(weights(tmp_path / 'many')[1], weights(tmp_path / 'one')[1], strict=True):
    for name in a:
      np.testing.assert_allclose(a[name], b[name], rtol=2e-6, atol=1e-6, err_msg=name)


# The second process keeps its score a moment after the first one has written it.
LATE = """
import runpy, sys, time
from pspnet_jax.training.saving import Saving
keep = Saving.add_score
def late(*arguments):
  time.sleep(2 * ('--process_id=1' in sys.argv))
  keep(*arguments)
Saving.add_score = late
sys.argv[0] = 'train'
runpy.run_module('pspnet_jax.train', run_name='__main__')
"""


@pytest.mark.slow
def test_a_signal_to_one_of_two_stops_both_at_the_same_step_and_keeps_no_score_back(tmp_path):
  """It comes in an evaluation, which is cut short in both and made up for when both go on."""
  run = (
    f'--config={tiny.config_file(tmp_path)}',
    f'--workdir={tmp_path / "run"}',
    '--config.threads=1',
  )
  long = ('--config.total_steps=100000', '--config.eval_every=2', '--config.data.val.length=20000')
  port = processes.free_port()
  both = [
    subprocess.Popen(
      tiny.command('train', *run, *long, *together(2, port, i)),
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
      cwd=tiny.ROOT,
      env=tiny.environment(),
    )
    for i in range(2)
  ]
  for line in both[0].stdout:
    if line.startswith('step'):
      break
  both[1].send_signal(signal.SIGINT)
  try:
    errors = [process.communicate(timeout=240)[1] for process in both]
  finally:
    for process in both:
      process.kill()
  assert [process.returncode for process in both] == [130, 130], errors
  for error, whose in zip(errors, (' to process 1', ''), strict=True):
    answer, end = error.splitlines()
    assert re.fullmatch(
      f'SIGINT{whose}: stopping after this (step|image of the evaluation); a second one stops at '
      'once.',
      answer,
    )
    assert end.startswith('Error: SIGINT: step 2 of 100000 is saved; run the same command')
  found = Checkpoints(tmp_path / 'run', read_only=True)
  assert found.latest_step == 2 and found.score(2) is None
  short = ('--config.total_steps=2', '--config.data.val.length=5')
  going_on = [sys.executable, '-c', LATE, *run, *short]
  tiny.at_once(lambda port, i: [*going_on, *together(2, port, i)], 240)
  assert Checkpoints(tmp_path / 'run', read_only=True).score(2) is not None


def test_ema_is_what_is_evaluated_and_restored(tmp_path):
  train(tiny.config(tmp_path, ema_decay=0.5, total_steps=2), tmp_path / 'run')
  checkpoints = Checkpoints(tmp_path / 'run', read_only=True)
  averaged = checkpoints.load(build=Card.build_network).params
  raw = checkpoints._manager.restore(2)['params']
  assert any((np.asarray(averaged[n]) != np.asarray(raw[n])).any() for n in raw)


def test_changed_settings_are_named_when_going_on(finished, tmp_path, capsys):
  shutil.copytree(finished[0], tmp_path / 'run')
  train(tiny.config(tmp_path, total_steps=8, aux_weight=0.2), tmp_path / 'run')
  out = capsys.readouterr().out
  assert 'Going on from step 6.' in out and 'aux_weight: 0.4 → 0.2' in out


@pytest.mark.slow
def test_imbalance_options_train_and_resume_bit_for_bit(tmp_path):
  options = {
    'loss__class_weights': tuple(1.0 + i for i in range(11)),
    'loss__ohem_min_kept': 200,
    'sampling__rare_class_temperature': 0.05,
    'sampling__rare_class_pixels': 20,
  }
  train(tiny.config(tmp_path, total_steps=4, **options), tmp_path / 'whole')
  c = tiny.config(tmp_path, total_steps=4, **options)
  shutil.copytree(tmp_path / 'whole', tmp_path / 'cut')
  shutil.rmtree(tmp_path / 'cut' / 'checkpoints' / '4')
  train(c, tmp_path / 'cut')
  assert (tmp_path / 'cut' / 'class_pixels.npz').is_file()
  whole, cut = weights(tmp_path / 'whole'), weights(tmp_path / 'cut')
  assert whole[0] == cut[0] == 4
  assert_identical(whole[1], cut[1])
