"""The benchmarks run from end to end at sizes of seconds; what they say is what they measured."""

import json
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import (
  cores,
  device,
  dilation,
  evaluation,
  fed,
  first_hour,
  losses,
  photographs,
  profiled,
  roofline,
  run,
  timing,
  work,
)
from pspnet_jax.data.augment import Augment
from pspnet_jax.models.network import Network
from pspnet_jax.planning import useful
from tests import tiny

SMALL = ['--depths=10', '--sizes=33', '--num_classes=5', '--rounds=1', '--ceiling_side=64']
# What the benchmarks may not need: JAX, Flax, Optax, Orbax, torch, NumPy and OpenCV are enough.
ABSENT = dict.fromkeys(
  ('tensorflow', 'tensorflow_datasets', 'clu', 'ml_collections', 'grain', 'PIL', 'psutil')
)


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
  assert first['failed'] == 'MemoryError: too large' and 'PSPNet-269' in second['case']
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
  counted = useful.flops(Network(150, depth=50), 2, (233, 233), train=True)
  assert 3 * published == pytest.approx(counted, rel=0.005)
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
  executed = useful.of_products(network.apply, network.param_shapes, {}, image, platform=platform)
  published = useful.flops(Network(150, depth=50), 1, (473, 473), train=False)
  # By hand: the backbone, the pyramid, the head's 3x3 and classifier, in multiplications; on CPU
  # the 72.2e9 of wide 3x3 convolutions become 33.7e9. What is executed has the interpolations, too.
  assert published / 2 == pytest.approx(161.6e9, rel=0.005)
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
  measured = evaluation.measure(case, ['eager', 'compile'], rounds=1, platform='cpu')
  assert set(measured['results']) == {'pspnet_jax', 'torch eager'}
  assert measured['results']['torch eager']['labels_differ'] < 1e-4
  assert measured['ratio_to_best_peer'] > 0


def test_the_forms_of_the_loss_are_one_loss(x64):
  logits = jax.random.normal(jax.random.key(0), (2, 5, 6, 7), 'float64')
  label = jax.random.randint(jax.random.key(1), (2, 37, 41), 0, 8).astype('uint8')
  label = jax.numpy.where(label == 7, 255, label)
  results = [jax.value_and_grad(form)(logits, label) for form in losses.FORMS.values()]
  for loss, gradient in results[1:]:
    np.testing.assert_allclose(loss, results[0][0], rtol=1e-12)
    np.testing.assert_allclose(gradient, results[0][1], atol=1e-15)


def test_the_forms_of_the_loss_report(monkeypatch, capsys):
  monkeypatch.setattr(timing, 'LEAST_SECONDS', 0)
  run.main([*SMALL, '--only=losses', '--batches=2'])
  printed = capsys.readouterr().out
  assert 'labels of 33²' in printed and all(form in printed for form in losses.FORMS)


def test_a_pool_of_threads_feeds_the_same_batches_whatever_their_number(tmp_path, monkeypatch):
  monkeypatch.setattr(fed, 'SIZE', (40, 50))
  monkeypatch.setattr(fed, 'IMAGES', 3)
  paths = fed._make_files(tmp_path, 5)
  streams = [fed._pooled(paths, Augment((33, 33)), 2, threads) for threads in (1, 4)]
  for _ in range(3):
    one, four = (next(stream) for stream in streams)
    assert one['image'].shape == (2, 33, 33, 3) and one['label'].shape == (2, 33, 33)
    for name in one:
      np.testing.assert_array_equal(one[name], four[name])
  assert one['label'].max() > 0
  for stream in streams:
    stream.close()


def test_what_an_image_takes_of_a_core_is_told_for_each_kind_of_files(monkeypatch, capsys):
  small = cores.Case('ade20k_pspnet50', (60, 80), '.jpg', still=True)
  cases = {'one': small, 'other': small._replace(suffix='.png', compression=0, still=False)}
  monkeypatch.setattr(cores, 'CASES', cases)
  monkeypatch.setattr(cores, 'IMAGES', 2)
  cores.main(['--rounds=1', '--rate=1000,1000'])
  rows = [line.split('|')[1:-1] for line in capsys.readouterr().out.splitlines()[2:]]
  assert [row[0].strip() for row in rows] == ['one', 'other']
  for row in rows:
    milliseconds, rate, busy = (float(x) for x in row[2:])
    assert milliseconds > 0 and rate > 0
    assert busy == pytest.approx(milliseconds, abs=0.2)  # of 1000 images/s


def test_labels_made_up_are_classes():
  found = photographs.label(np.random.default_rng(0), 40, 50, 7)
  assert found.dtype == np.uint8 and found.max() < 7 and len(np.unique(found)) > 1


def _event(pid, tid, name, dur, **args):
  return {'ph': 'X', 'pid': pid, 'tid': tid, 'name': name, 'dur': dur, 'args': args}


def _named(kind, pid, name, tid=0):
  return {'ph': 'M', 'name': f'{kind}_name', 'pid': pid, 'tid': tid, 'args': {'name': name}}


def test_a_trace_is_added_up_by_operation():
  events = [
    _named('process', 1, '/device:GPU:0'),
    _named('process', 2, '/host:CPU'),
    _named('thread', 1, 'Stream #14(Compute)', 7),
    _named('thread', 1, 'XLA Modules', 8),
    _event(1, 7, 'sm90_kernel', 2000, hlo_op='custom-call.12', tf_op='jit(step)/conv1/conv'),
    _event(1, 7, 'sm90_kernel', 1000, hlo_op='custom-call.13', tf_op='jit(step)/conv2/conv'),
    _event(1, 7, 'MemcpyD2H', 500),
    _event(1, 8, 'jit_step', 9000),
    _event(2, 1, 'python', 9000, hlo_op='fusion.1'),
  ]
  found = profiled.summed(events)
  assert found == {'custom-call (conv#/conv)': (2, 3.0), 'MemcpyD2H': (1, 0.5)}
  # Where there is only a CPU its operations are the host's events that name one.
  host = [event for event in events if event['pid'] == 2]
  assert profiled.summed(host) == {'fusion': (1, 9.0)}


def test_a_profile_is_read_without_tensorboard(monkeypatch):
  monkeypatch.setattr(profiled, 'STEPS', 2)
  case = work.Case(train=False, depth=10, size=33, batch=1, dtype='float32', num_classes=5)
  measured = profiled.measure(case)
  assert measured['operations'] and measured['busy_ms'] > 0
  assert 'all operations' in run.table(profiled, measured)


def test_torch_is_not_compared_on_a_device_that_it_cannot_use():
  assert device.of_torch('cpu') == 'cpu'
  with pytest.raises(RuntimeError, match='cannot use this tpu'):
    device.of_torch('tpu')
  assert 'torch' not in device.matmul_ceiling('float32', 64, 'tpu')


def test_the_first_hour_is_planned_in_25_minutes_and_says_so():
  assert sum(part.minutes for part in first_hour.PLAN) <= 25
  script = (tiny.ROOT / 'benchmarks' / 'first_hour.sh').read_text()
  said = re.findall(r'^#    ([\d.]+) +(.+?)  ', script, re.MULTILINE)
  assert [(name, float(m)) for m, name in said] == [(p.name, p.minutes) for p in first_hour.PLAN]
  for part in first_hour.PLAN:  # every command is one that benchmarks.run takes
    run.parse(part.command()[2:], 'gpu')
    run.parse(part.command(miniature=True)[2:], 'cpu')


class _Part(first_hour.Part):
  """A part that runs the source text of its only argument."""

  def command(self, miniature=False):
    return ['-c', *self.arguments]


def test_a_part_that_fails_or_takes_too_long_does_not_stop_the_others(tmp_path, capsys):
  measured = {'case': 'a matter', 'results': {'a': {'seconds': 2, 'from': 1, 'to': 3}}}
  measured['results']['a'] |= {'images_per_s': 1, 'labels_differ': 0}
  figures = {'about': {'device': 'a thing', 'jax': '9'}, 'measured': {'evaluation': [measured]}}
  figures['measured']['evaluation'] += [{'case': 'a large one', 'failed': 'MemoryError: full'}]
  figures['measured']['evaluation'][0]['results'] |= {
    'pspnet_jax': figures['measured']['evaluation'][0]['results']['a']
  }
  write = f'import sys; open(sys.argv[1][7:], "w").write({json.dumps(figures)!r})'
  parts = [
    _Part('slow', 0.05, (f'{write}; import time; time.sleep(60)',)),
    _Part('bad', 1, ('raise SystemExit("no such thing")',)),
    _Part('good', 1, (write,)),
  ]
  path = tmp_path / 'figures.json'
  first_hour.run(parts, path)
  report = json.loads(path.read_text())
  slow, bad, good = report['parts'].values()
  assert slow['ended'] == 'cut short after 3 s' and slow['measured'] == good['measured']
  assert 'no such thing' in bad['ended'] and good['ended'] == 'done'
  capsys.readouterr()
  first_hour.main([f'--page={path}'])
  page = capsys.readouterr().out
  assert page.count('| a ') == 2 and 'device a thing, jax 9.' in page
  assert 'A large one: failed, MemoryError: full' in page and 'no such thing' in page
  assert 'cut short after 3 s' in page


@pytest.mark.slow
def test_the_first_hour_is_rehearsed_with_little_installed(tmp_path):
  (tmp_path / 'sitecustomize.py').write_text(f'import sys; sys.modules.update({ABSENT})')
  path = tmp_path / 'figures.json'
  result = subprocess.run(
    [tiny.ROOT / 'benchmarks' / 'first_hour.sh', '--miniature', f'--json={path}'],
    capture_output=True,
    text=True,
    env=tiny.environment() | {'PYTHONPATH': str(tmp_path), 'PYTHON': sys.executable},
    check=False,
  )
  assert result.returncode == 0, result.stderr
  report = json.loads(path.read_text())
  assert [*report['parts']] == [part.name for part in first_hour.PLAN]
  for name, part in report['parts'].items():
    assert part['ended'] == 'done' and part['about']['jax'] == jax.__version__, (name, part)
    for cases in part['measured'].values():
      assert not [case for case in cases if 'failed' in case], cases
  page = '\n'.join(first_hour.page(report))
  assert 'a pool of threads in place of Grain' in page and 'pspnet_jax, bfloat16' in page
  assert page.count('`python -m benchmarks.run') == len(first_hour.PLAN)
