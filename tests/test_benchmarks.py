"""The benchmarks run from end to end at sizes of seconds; what they say is what they measured."""

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import flops, ours, peers, run, timing, work
from pspnet_jax.models.network import Network
from tests import tiny

SMALL = ['--depths=10', '--sizes=33', '--num_classes=5', '--rounds=1', '--ceiling_side=64']
# What the benchmarks may not need: they run where only JAX, Flax, Optax, torch and NumPy are.
ABSENT = ('tensorflow', 'tensorflow_datasets', 'clu', 'ml_collections', 'grain', 'rich', 'absl.app')


def test_every_part_reports(tmp_path, capsys, monkeypatch):
  monkeypatch.setattr(timing, 'LEAST_SECONDS', 0)
  path = tmp_path / 'figures.json'
  options = [
    '--only=training,inference,compiling',
    '--dtypes=float32',
    '--peers=eager',
    '--batches=2',
  ]
  run.main([*SMALL, *options, f'--json={path}'])
  report, printed = json.loads(path.read_text()), capsys.readouterr().out
  assert report['about']['jax'] == jax.__version__
  for part in ('training', 'inference'):
    [measured] = report['measured'][part]
    assert measured['case'] in printed
    own, theirs = (measured['results'][name] for name in ('pspnet_jax', 'torch eager'))
    assert measured['ratio_to_best_peer'] == own['seconds'] / theirs['seconds']
    assert own['images_per_s'] == 2 / own['seconds']
    peak = max(report['ceiling']['float32'].values())
    share = measured['flops']['useful'] / own['seconds'] / peak
    assert own['useful_share'] == pytest.approx(share)
    assert measured['flops']['useful'] > measured['flops']['executed'] > 0
  assert [m['case'].split(', ')[1] for m in report['measured']['compiling']] == ['PSPNet-10']
  assert report['measured']['compiling'][0]['temporary_bytes'] > 0


@pytest.mark.slow
def test_whole_processes_start_with_little_installed(tmp_path):
  blocked = f'import sys; sys.modules.update(dict.fromkeys({ABSENT})); '
  program = f'from benchmarks import run; run.main({[*SMALL, "--only=starts", "--peers="]!r})'
  result = subprocess.run(
    [sys.executable, '-c', blocked + program],
    capture_output=True,
    text=True,
    cwd=tiny.ROOT,
    env=tiny.environment(),
    check=True,
  )
  assert 'second start' in result.stdout and '| pspnet_jax' in result.stdout, result.stderr


def test_one_case_that_fails_does_not_stop_the_others(tmp_path, monkeypatch, capsys):
  def fail(case, *_):
    if case.size == 33:
      raise MemoryError('too large')
    return {'case': str(case), 'results': {'pspnet_jax': {}}}

  monkeypatch.setattr(run.compiling, 'measure', fail)
  monkeypatch.setattr(run.compiling, 'rows', lambda measured: iter([[measured['case']]]))
  path = tmp_path / 'figures.json'
  run.main([*SMALL, '--sizes=33', '--only=compiling', '--depths=10,18', f'--json={path}'])
  del capsys


def test_flops_of_what_is_executed_and_of_what_is_useful():
  network = Network(150, depth=50).folded()
  image = jax.ShapeDtypeStruct((1, 473, 473, 3), jnp.float32)
  executed = flops.executed(network.apply, network.param_shapes, {}, image)
  useful = flops.useful(473, 1, train=False, num_classes=150, depth=50)
  # By hand: the backbone, the pyramid, the head's 3x3 and classifier, in multiplications. Ours adds
  # the interpolations, which torch does not count.
  assert useful / 2 == pytest.approx(161.6e9, rel=0.005)
  assert 127.9e9 < executed / 2 < 131e9


def test_both_sides_do_the_same_work():
  """The same loss falls on the same batch, and inference has the same shape."""
  case = work.Case(train=True, depth=10, size=33, batch=2, dtype='float32', num_classes=5)
  step, arguments = ours.train_step(case)
  state, metrics, batch = (make() for make in arguments)
  before = jax.tree.map(np.asarray, state.params)
  state, metrics = step(state, metrics, batch)
  assert np.isfinite(metrics.loss.compute())
  assert all((before[n] != x).any() for n, x in state.params.items() if n.endswith('kernel'))
  peer = peers.program(case, 'channels_last')
  assert peer.seconds(2) > 0


def test_programs_take_turns():
  order = []
  programs = {
    name: timing.Program(lambda name=name: order.append(name), lambda: None) for name in 'ab'
  }
  timing.LEAST_SECONDS, kept = 0, timing.LEAST_SECONDS
  try:
    seconds = timing.alternate(programs, rounds=3)
  finally:
    timing.LEAST_SECONDS = kept
  assert ''.join(order) == 'aabb' + 'ab' * 3 and len(seconds['a']) == 3
  assert timing.summary([4.0, 1, 2, 3, 100]) == {'seconds': 3, 'from': 2, 'to': 4}
