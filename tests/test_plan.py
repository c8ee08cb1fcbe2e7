"""`pspnet plan`: what it says of a config, and what it refuses."""

import math

import jax
import pytest

from pspnet_jax import plan
from pspnet_jax.config import files
from pspnet_jax.errors import UserError
from pspnet_jax.planning import devices, programs, scaling
from tests import tiny


@pytest.fixture
def in_this_process(monkeypatch):
  """JAX is in use here, and compiles what runs once at once."""
  monkeypatch.setattr(devices, 'keep_to_the_cpu', lambda: None)
  monkeypatch.setattr(devices.Topology, 'compiler_options', lambda self: {})


def test_a_plan_says_what_fits_and_how_fast_it_can_be(tmp_path, in_this_process, capsys):
  plan.plan(tiny.config(tmp_path, batch_size=2), 'cpu', ways=False, largest=False)
  printed = capsys.readouterr().out
  assert '2 × 33×49 a step, 11 classes, float32, on 1 × CPU of 17.2 GB' in printed
  assert 'Compiling (1): as configured ...' in printed and 'this took ' in printed
  assert 'GB a device, of 17.2 GB.' in printed
  assert 'images/s, bound by' in printed and 'A bound, not a promise' in printed


class Compiler:
  """Stands in for the compiler: a gigabyte an image, a tenth of it with remat."""

  def __init__(self):
    self.asked = []

  def __call__(self, topology, *, batch_size, network, **arguments):
    remat = network.options['remat']
    self.asked.append((batch_size, remat))
    size = batch_size * 2**30 / (10 if remat else 1) / len(topology.devices)
    if size > 2**34:
      raise programs.TooLarge(f'RESOURCE_EXHAUSTED: Used {size / 2**30:.2f}G of 16G hbm')
    counted = programs.counting.Counted([], [])
    memory = {'arguments': 0, 'outputs': 0, 'temporaries': int(size)}
    counted.work.append(
      programs.counting.Work(None, None, 1, 5e9 * batch_size, 0.0, 0.0, {'bf16': 1e9 * batch_size})
    )
    return programs.Compiled(topology, batch_size, memory, counted, {}, 1.0, 1.0, '')


def rows_of(printed):
  lines = [line.strip('│ ').split('│') for line in printed.splitlines() if '│' in line]
  return [[cell.strip() for cell in line] for line in lines]


def test_the_largest_batch_and_the_ways_to_save(tmp_path, in_this_process, monkeypatch, capsys):
  compiler = Compiler()
  monkeypatch.setattr(programs, 'training_step', compiler)
  monkeypatch.setattr(programs.counting.Counted, 'messages', lambda self: {'all-reduce': (3, 2e6)})
  plan.plan(tiny.config(tmp_path, batch_size=20, loss__dice=1.0), 'cpu')
  printed = capsys.readouterr().out
  assert 'It does not fit: 21.5 GB a device, of 17.2 GB.' in printed
  rows = {name: cells for name, *cells in rows_of(printed)}
  assert rows['as configured'] == ['21.5', 'no', '-', '-', '-', '-']
  assert rows['model.remat=True'] == ['2.15', 'yes', '100', '0.02', '2000', '10']
  assert rows['loss.chunk_rows=32'][:2] == ['21.5', 'no']
  assert rows['accumulation_steps=4'][:2] == ['21.5', 'no']
  assert 'The largest batch that fits: 16.' in printed
  assert (16, False) in compiler.asked and (17, False) in compiler.asked
  assert len(compiler.asked) <= 10


@pytest.mark.parametrize('refused', [(), (2,)], ids=['all', 'but one'])
def test_several_devices_are_told_of_on_more_of_them(
  refused, tmp_path, in_this_process, monkeypatch, capsys
):
  def compiled(config, topology, spec):
    groups.append(config.model.ghost_batch_size)
    if groups[-1] in refused:
      raise UserError('too few images a part')
    work = programs.counting.Work(None, None, 1, 5e9, 0.0, 0.0, {'bf16': 1e9})
    counted = programs.counting.Counted([work], [])
    return programs.Compiled(topology, config.batch_size, {}, counted, {}, 1.0, 1.0, '')

  groups = []

  def messages(counted):
    return {'all-reduce': (100, 2e6)}

  h100 = devices.DEVICES['h100'][0]
  topology = devices.Topology('h100:8', h100, tuple(jax.devices()[:8]))
  monkeypatch.setattr(devices, 'open_topology', lambda name: topology)
  monkeypatch.setattr(plan, 'training_step', compiled)
  monkeypatch.setattr(programs.counting.Counted, 'messages', messages)
  config = tiny.config(tmp_path, batch_size=16)
  plan.plan(config, 'h100:8', largest=False, step_ms=2.0)
  printed = capsys.readouterr().out
  assert groups[0] == 0 and groups[-1] == 2
  rows = {tuple(row[:3]): row[3:] for row in rows_of(printed) if len(row) == 8}
  exact = scaling.expected(
    scaling.LINKS['h100'], 64, scaling.Load(2, 2e-3, {'all-reduce': (100, 2e6)})
  )
  assert rows['as configured', '64', '128'][-2:] == [
    f'{exact.images_per_second:.0f}',
    f'{100 * exact.efficiency:.0f} %',
  ]
  assert (('model.ghost_batch_size=2', '512', '1024') in rows) == (not refused)
  said = ' '.join(printed.split())
  assert 'Expected, not measured' in said and ('left out: too few images' in said) == bool(refused)
  assert ('model.ghost_batch_size=2 leaves out' in said) == (not refused)
  assert 'ms of a core of this machine' in said and 'such cores busy' in said


@pytest.mark.parametrize(
  ('name', 'count'),
  [('ade20k_pspnet50', 150), ('cityscapes_pspnet50', 19), ('camvid', 11), ('context_scenes', 11)],
)
def test_published_data_need_not_be_there(name, count):
  assert plan.classes(files.load(name)).num_classes == count


def test_cores_are_left_out_with_the_cause_where_the_data_are_not(tmp_path):
  config = files.load('folder')
  config.data.root = str(tmp_path / 'nowhere')
  said = plan._feeding(config, 100.0)
  assert said.startswith('How many cores feed it is left out: ') and 'nowhere' in said


def test_data_of_ones_own_have_to_be_there_or_their_classes_given():
  config = files.load('folder')
  with pytest.raises(UserError, match=r'without the data, give --num_classes=N\.'):
    plan.classes(config)
  assert plan.classes(config, 7).num_classes == 7
  for count in (0, 1, 256):
    with pytest.raises(UserError, match=rf'--num_classes is {count}: give 2 to 255'):
      plan.classes(config, count)


@pytest.mark.parametrize(
  ('flag', 'says'),
  [
    ('--topology=h10', "there is no topology 'h10': did you mean h100?"),
    ('--topology=cpu --config.batch_size=0', 'config.batch_size is 0'),
    ('--topology=cpu --config.accumulation_steps=3', 'make batch_size a multiple of 3'),
    ('--topology=cpu --step_ms=0', '--step_ms is 0.0: give the milliseconds'),
    ('', '--topology'),
  ],
)
def test_what_cannot_be_planned_is_one_sentence(flag, says, tmp_path):
  result = tiny.run('plan', f'--config={tiny.config_file(tmp_path)}', *flag.split())
  assert result.returncode == 1 and result.stderr.startswith('Error: ')
  assert says in result.stderr and result.stderr.count('\n') == 1


def test_what_the_compiler_does_not_say_is_not_made_up():
  too_large = programs.TooLarge('RESOURCE_EXHAUSTED')
  assert plan._row('x', too_large, 10)[:3] == ['x', 'too many', 'no']
  assert math.isinf(too_large.needed)


def test_changes_that_cannot_be_are_left_out(tmp_path, in_this_process, monkeypatch, capsys):
  def refuse(topology, *, batch_size, network, step, **arguments):
    if batch_size != 4 or network.options['remat']:
      raise UserError('too few images')
    return Compiler()(topology, batch_size=batch_size, network=network)

  monkeypatch.setattr(programs, 'training_step', refuse)
  monkeypatch.setattr(programs.counting.Counted, 'messages', lambda self: {})
  plan.plan(tiny.config(tmp_path, batch_size=4), 'cpu')
  printed = capsys.readouterr().out
  assert 'left out: too few images' in printed and 'not possible: too few images' in printed
  assert 'as configured' in printed and 'The largest batch that fits: at least 4.' in printed
