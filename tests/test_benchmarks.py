"""The benchmarks run from end to end at sizes of seconds; what they say is what they measured."""

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import dilation, evaluation, flops, roofline, run, timing
from pspnet_jax.models.network import Network
from tests import tiny

SMALL = ['--depths=10', '--sizes=33', '--num_classes=5', '--rounds=1', '--ceiling_side=64']
# What the benchmarks may not need: they run where only JAX, Flax, Optax, torch and NumPy are.
ABSENT = dict.fromkeys(('tensorflow', 'tensorflow_datasets', 'clu', 'ml_collections', 'grain'))


def test_every_part_reports(tmp_path, capsys, monkeypatch):
  monkeypatch.setattr(timing, 'LEAST_SECONDS', 0)
  path = tmp_path / 'figures.json'
  options = [
    '--only=training,inference',
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


@pytest.mark.slow
def test_whole_processes_start_with_little_installed(tmp_path):
  (tmp_path / 'sitecustomize.py').write_text(f'import sys; sys.modules.update({ABSENT})')
  result = subprocess.run(
    [sys.executable, '-m', 'benchmarks.run', *SMALL, '--only=starts', '--batches=2', '--peers='],
    capture_output=True,
    text=True,
    cwd=tiny.ROOT,
    env=tiny.environment() | {'PYTHONPATH': str(tmp_path)},
    check=False,
  )
  assert 'second start' in result.stdout and '| pspnet_jax' in result.stdout, result.stderr


def test_one_case_that_fails_does_not_stop_the_others(tmp_path, monkeypatch, capsys):
  def measure(case):
    if case.depth == 10:
      raise MemoryError('too large')
    return {'case': str(case)}

  monkeypatch.setattr(run.compiling, 'measure', measure)
  monkeypatch.setattr(run.compiling, 'rows', lambda measured: iter([[measured['case']] * 6]))
  path = tmp_path / 'figures.json'
  run.main(['--only=compiling', '--depths=10,269', f'--json={path}'])
  first, second = json.loads(path.read_text())['measured']['compiling']
  assert first['failed'] == 'too large' and 'PSPNet-269' in second['case']
  assert 'PSPNet-269' in capsys.readouterr().out


@pytest.mark.parametrize(('height', 'width', 'step'), [(12, 8, 4), (13, 7, 2), (3, 9, 4)])
def test_space_to_batch_is_a_dilated_convolution(height, width, step, x64):
  x = jax.random.normal(jax.random.key(0), (2, height, width, 3), 'float64')
  kernel = jax.random.normal(jax.random.key(1), (3, 3, 3, 5), 'float64')
  ours, theirs = (dilation.WAYS[way](x, kernel, step) for way in ('space-to-batch', 'dilated'))
  np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_dilated_convolutions_report(capsys):
  run.main([*SMALL, '--only=dilation', '--batches=1', '--dtypes=float32'])
  printed = capsys.readouterr().out
  assert 'forward, ms | image gradient, ms | kernel gradient, ms' in printed
  table = [line for line in printed.splitlines() if line.startswith('| 5²×512')]
  assert [line.split('|')[3].strip() for line in table] == list(dilation.WAYS)
  for line in table:
    assert all(float(cell) > 0 for cell in line.split('|')[4:8])


def test_roofline_counts_every_operation_and_array(capsys):
  parts = roofline.count(50, 233, 2, 4)
  published = sum(found['flops'] for name, found in parts.items() if name != roofline.SPLIT)
  useful = flops.useful(233, 2, train=True, num_classes=150, depth=50)
  assert 3 * published == pytest.approx(useful, rel=0.01)  # the image needs no gradient
  # By hand: the auxiliary head's 3x3 and classifier, on 30x30 pixels of two images.
  pixels, kernels = 2 * 30 * 30, 9 * 1024 * 256 + 256 * 150
  assert parts['auxiliary head']['bytes'] == 4 * (pixels * (1024 + 2 * 256 + 150) + kernels)
  roofline.main(['--depth=50', '--size=233', '--roof=1,100'])
  assert '10 FLOP a byte' in capsys.readouterr().out


def test_a_part_that_does_not_exist_is_refused(capsys):
  with pytest.raises(SystemExit):
    run.main(['--only=trainning'])
  assert 'training,inference' in capsys.readouterr().err


@pytest.mark.parametrize(('platform', 'by_hand'), [('gpu', 127.9e9), ('cpu', 89.4e9)])
def test_flops_of_what_is_executed_and_of_what_is_useful(platform, by_hand):
  network = Network(150, depth=50).folded()
  image = jax.ShapeDtypeStruct((1, 473, 473, 3), jnp.float32)
  executed = flops.executed(network.apply, network.param_shapes, {}, image, platform=platform)
  useful = flops.useful(473, 1, train=False, num_classes=150, depth=50)
  # By hand: the backbone, the pyramid, the head's 3x3 and classifier, in multiplications; on CPU
  # the 72.2e9 of wide 3x3 convolutions become 33.7e9. Ours adds the interpolations, which torch
  # does not count.
  assert useful / 2 == pytest.approx(161.6e9, rel=0.005)
  assert by_hand < executed / 2 < by_hand + 3.1e9


def test_programs_take_turns(monkeypatch):
  monkeypatch.setattr(timing, 'LEAST_SECONDS', 0)
  order = []
  programs = {x: timing.Program(lambda x=x: order.append(x), lambda: None) for x in 'ab'}
  seconds = timing.alternate(programs, rounds=3)
  assert ''.join(order) == 'aabb' + 'ab' * 3 and len(seconds['a']) == 3
  assert timing.summary([4.0, 1, 2, 3, 100]) == {'seconds': 3, 'from': 2, 'to': 4}


def test_evaluation_labels_as_the_loop_it_is_compared_with():
  case = evaluation.Case(depth=10, crop=89, num_classes=5, times=1, multi_scale=False)
  measured = evaluation.measure(case, ['eager', 'compile'], rounds=1)
  assert set(measured['results']) == {'pspnet_jax', 'torch eager'}
  assert measured['results']['torch eager']['labels_differ'] < 1e-4
  assert measured['ratio_to_best_peer'] > 0
