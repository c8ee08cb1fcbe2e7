"""The benchmark of programs for absent devices: parts, tables, and what has grown."""

import copy
import json

import pytest

from benchmarks import ahead_of_time, program_figures
from pspnet_jax.models.network import Network
from pspnet_jax.planning import devices, hlo
from pspnet_jax.training import optim
from pspnet_jax.training.step import make_train_step
from tests.conftest import TINY


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch, tmp_path):
  """A small network for this CPU, and figures of its own."""
  monkeypatch.setattr(devices, 'keep_to_the_cpu', lambda: None)
  monkeypatch.setattr(devices.Topology, 'compiler_options', lambda self: {})
  monkeypatch.setattr(ahead_of_time, 'RECORDED', tmp_path / 'recorded.json')

  def recipe(case):
    network = Network(5, **TINY, dtype=case.dtype)
    tx = optim.sgd(network.param_shapes, optim.learning_rate(0.01, 10))
    sizes = {'batch_size': case.batch, 'crop_size': (case.crop, case.crop)}
    return {'network': network, 'tx': tx, 'step': make_train_step(network, tx), **sizes}

  monkeypatch.setattr(ahead_of_time, '_recipe', recipe)


SIZE = ['--topology=cpu', '--crop=33', '--batch=2', '--dtype=float32']


def test_figures_are_shown_recorded_and_compared(tmp_path, capsys):
  path = tmp_path / 'figures.json'
  with pytest.raises(SystemExit, match='nothing is recorded; --record does it'):
    ahead_of_time.main([*SIZE, '--only=inference', '--check'])
  ahead_of_time.main([*SIZE, '--only=training', '--record', f'--json={path}'])
  printed = capsys.readouterr().out
  title = 'cpu: training step, PSPNet-50, 33², batch 2, float32'
  assert title in printed and '| stage 3 ' in printed and 'TFLOP: useful' in printed
  [found] = json.loads(path.read_text())['cases'].values()
  parts = found['parts']
  assert sum(p['products'] + p['other passes'] for p in parts.values()) == pytest.approx(
    found['traffic']['all']
  )
  network = [name for name in parts if name not in ('optimiser', 'communication')]
  assert all(parts[name]['other passes'] > 0 and parts[name]['flops'] > 0 for name in network)
  assert parts['optimiser']['flops'] == 0 < parts['optimiser']['other passes']
  kept = json.loads(ahead_of_time.RECORDED.read_text())['cases'][title]
  assert kept['memory'] == found['memory'] and kept['date']

  kept['memory']['temporaries'] /= 1.03
  ahead_of_time.RECORDED.write_text(json.dumps({'cases': {title: kept}}))
  with pytest.raises(SystemExit, match=r'training step.*memory, temporaries, GB: .* 3\.0 % more'):
    ahead_of_time.main([*SIZE, '--only=training', '--check'])


def test_what_has_grown_is_named_and_what_is_less_is_not():
  part = {'products': 4e9, 'other passes': 6e9}
  before = {
    'memory': {'temporaries': 9e9, 'peak': 10e9},
    'traffic': {'all': 20e9, 'normalisation, ReLU, sums and casts': 6e9},
    'parts': {'stem': part, 'head': dict(part), 'pyramid': {'products': 1e6, 'other passes': 0}},
    'executed flops': {'bf16': 1e12},
    'calls': [['__cudnn$convForward', 'size=3x3', 5]],
    'messages': {'all-reduce': {'times': 100, 'bytes': 1e9}},
  }
  assert [*program_figures.grown(before, before)] == []
  now = copy.deepcopy(before)
  now['parts']['head']['products'] *= 1.1
  now['parts']['stem']['products'] *= 1.01  # below two per cent
  now['parts']['pyramid']['products'] *= 50  # of which nobody would notice
  now['memory']['peak'] *= 0.5
  now['calls'] = [['__cudnn$convForward', 'size=60x60 stride=2x2', 1], *now['calls']]
  now['messages'] |= {'all-gather': {'times': 1, 'bytes': 5e6}}
  assert [*program_figures.grown(before, now)] == [
    'traffic of head, GB: 10.4 where 10 is recorded, 4.0 % more',
    'library calls: 6 where 5 is recorded, 20.0 % more',
    'library calls with a window of more than 7×7: 1 where 0 is recorded',
    'all-gather, messages: 1 where 0 is recorded',
    'all-gather, MB: 5 where 0 is recorded',
  ]


@pytest.mark.parametrize(
  ('instruction', 'part'),
  [
    ('add(%x, %x), metadata={op_name="jit(step)/jvp(stage3)/jit(_run)/add"}', 'stage 3'),
    ('add(%x, %x), metadata={op_name="jit(step)/transpose(jvp(stem))/mul"}', 'stem'),
    ('add(%x, %x), metadata={op_name="jit(step)/jvp(aux_head)/head/add"}', 'auxiliary head'),
    ('add(%x, %x), metadata={op_name="jit(step)/optimizer/add"}', 'optimiser'),
    ('add(%x, %x), metadata={op_name="jit(step)/jvp()/reduce_max"}', 'upsampling and loss'),
    ('copy(%x)', 'stage 2'),  # of the parameter that it moves
    ('all-reduce(%x), metadata={op_name="jit(step)/jvp(stem)/reduce_sum"}', 'communication'),
  ],
)
def test_the_part_of_an_instruction(instruction, part):
  text = f"""HloModule parts

ENTRY %main (x: f32[8]) -> f32[8] {{
  %x = f32[8]{{0}} parameter(0), metadata={{op_name="state.params['backbone/stage2/0/conv1']"}}
  ROOT %y = f32[8]{{0}} {instruction}
}}
"""
  entry = hlo.read(text).entry
  assert program_figures.part_of(entry.root, entry) == part


def test_a_config_is_compiled_as_it_stands(monkeypatch):
  seen = []

  def compiled(topology, **arguments):
    seen.append(arguments)
    raise KeyboardInterrupt

  monkeypatch.setattr(ahead_of_time.programs, 'training_step', compiled)
  with pytest.raises(KeyboardInterrupt):
    ahead_of_time.main(['--topology=cpu', '--only=training', '--config=context_scenes'])
  [found] = seen
  assert found['batch_size'] == 8 and found['crop_size'] == (193, 193)
  assert found['network'].options['num_classes'] == 11
  with pytest.raises(SystemExit):
    ahead_of_time.main([*SIZE, '--config=context_scenes'])


def test_a_topology_that_is_unknown_is_one_sentence():
  with pytest.raises(SystemExit, match="Error: there is no topology 'h10'"):
    ahead_of_time.main(['--topology=h10'])
