"""A run whose workdir is in a bucket: killed, gone on with, evaluated, used, and refused."""

import json
import signal
import subprocess
import time

import jax
import numpy as np
import pytest

import pspnet_jax
from pspnet_jax.errors import UserError
from pspnet_jax.evaluate import evaluate
from pspnet_jax.pack import pack
from pspnet_jax.train import train
from pspnet_jax.weights.checkpoints import Checkpoints
from tests import tiny

RUN = 'gs://scenes/run'


def start(name, *arguments, **environment):
  return subprocess.Popen(
    tiny.command(name, *arguments),
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    cwd=tiny.ROOT,
    env=tiny.environment() | environment,
  )


def arrays(workdir):
  with Checkpoints(workdir, read_only=True) as checkpoints:
    found = checkpoints.load('latest')
  return {'params': found.params, 'batch_stats': found.batch_stats}, found.step


def lines(content):
  return [json.loads(line) for line in content.splitlines()]


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_there_and_ends_bit_for_bit_as_one_on_a_disk(
  bucket, tmp_path, one_device
):
  config = f'--config={tiny.config_file(tmp_path)}'
  # Compiled once for all three.
  cache = {'JAX_ENABLE_COMPILATION_CACHE': '1', 'JAX_COMPILATION_CACHE_DIR': str(tmp_path / 'jax')}
  here = start('train', config, f'--workdir={tmp_path / "run"}', **cache)
  assert here.wait(300) == 0, here.stderr.read()

  killed = start('train', config, f'--workdir={RUN}', **cache)
  deadline = time.monotonic() + 300
  while 'run/checkpoints/2/commit_success.txt' not in bucket.objects:
    assert killed.poll() is None and time.monotonic() < deadline, killed.stderr.read()
    time.sleep(0.02)
  killed.send_signal(signal.SIGKILL)
  killed.wait()
  assert 'run/run.lock' in bucket.objects
  assert lines(bucket.objects['run/metrics.jsonl'].content)[0]['step'] == 2

  again = start('train', config, f'--workdir={RUN}', **cache)
  out, err = again.communicate(timeout=300)
  assert again.returncode == 0, err
  assert 'Going on from step' in out and f'{RUN} holds step 6' in out
  assert 'run/run.lock' not in bucket.objects

  (there, step), (here, last) = arrays(RUN), arrays(tmp_path / 'run')
  assert step == last == 6
  jax.tree.map(np.testing.assert_array_equal, there, here)
  logs = bucket.objects['run/metrics.jsonl'].content, (tmp_path / 'run/metrics.jsonl').read_bytes()
  times = ('time', 'images_per_second', 'time/evaluation_seconds')
  remote, local = (
    [{k: v for k, v in line.items() if k not in times} for line in lines(log)] for log in logs
  )
  assert remote == local
  assert any('tfevents' in name for name in bucket.names('run/'))

  image = np.full((33, 49, 3), 90, np.uint8)
  model, same = pspnet_jax.load(RUN), pspnet_jax.load(str(tmp_path / 'run'))
  np.testing.assert_array_equal(model(image), same(image))
  assert model.origin.endswith(f'of {RUN}')

  scores = evaluate(tiny.config(tmp_path), RUN)
  assert json.loads(bucket.objects['run/evaluation/scores.json'].content)['mIoU'] == scores.miou
  assert bucket.names('run/evaluation/') == sorted(
    ['confusion.png', 'predictions.png', 'scores.csv', 'scores.json', 'scores.md', 'worst.png']
  )
  pack(RUN, tmp_path / 'packed', license_id='mit')
  np.testing.assert_array_equal(pspnet_jax.load(tmp_path / 'packed')(image), same(image))
  bucket.take(tmp_path / 'packed', 'packed')
  with pytest.raises(UserError, match='copy it to this computer with `gcloud storage cp -r'):
    pspnet_jax.load('gs://scenes/packed')

  warm = tiny.config(tmp_path, init_from=RUN, total_steps=1)
  train(warm, tmp_path / 'warm')
  assert json.loads((tmp_path / 'warm' / 'config.json').read_text())['init_from'] == RUN


def test_a_bucket_that_is_closed_to_this_account_is_one_sentence(bucket):
  bucket.status = 403
  closed = f'{RUN} may not be used by this account'
  with pytest.raises(UserError, match=closed):
    pspnet_jax.load(RUN)
  process = start('train', f'--workdir={RUN}')
  _, err = process.communicate(timeout=300)
  assert process.returncode == 1
  assert err.startswith(f'Error: {closed}') and err.count('\n') == 1
