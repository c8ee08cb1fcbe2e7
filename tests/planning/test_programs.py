import math

import jax
import pytest

from pspnet_jax.models.network import Network
from pspnet_jax.planning import devices, programs
from pspnet_jax.training import optim
from pspnet_jax.training.step import make_train_step
from tests.conftest import TINY

SIZE = (33, 41)


def training_step(topology, *, batch_size=2, accumulation_steps=1):
  network = Network(5, **TINY)
  tx = optim.sgd(network.param_shapes, optim.learning_rate(0.01, 10))
  step = make_train_step(network, tx, accumulation_steps=accumulation_steps)
  return programs.training_step(topology, network, tx, step, batch_size=batch_size, crop_size=SIZE)


@pytest.fixture(scope='module')
def cpu():
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(devices.Topology, 'compiler_options', lambda self: {})
    yield devices.open_topology('cpu')


@pytest.fixture(scope='module')
def step(cpu):
  return training_step(cpu)


def test_the_step_that_is_compiled_is_the_one_that_trains(step):
  network = Network(5, **TINY)
  # Parameters and momentum, statistics, the step and the batch; all but the batch comes back in
  # the same memory, so that only measurements are new.
  shapes = [*2 * [*network.param_shapes.values()], *network.batch_stat_shapes.values()]
  state = 4 * sum(math.prod(x.shape) for x in shapes) + 4
  batch = 2 * math.prod(SIZE) * (3 + 1)
  assert step.memory['arguments'] == pytest.approx(state + batch, rel=0.02)
  assert 0 <= step.memory['outputs'] < 2000
  assert step.peak > step.memory['temporaries'] > batch
  assert step.images == 2 and step.seconds > 0
  assert step.counted.memory > state + batch
  assert step.seconds_of_traffic == step.counted.memory / 50e9
  assert step.least_seconds == max(step.seconds_of_traffic, step.seconds_of_arithmetic)
  assert not step.counted.endless


def test_accumulation_is_a_loop_that_counts_each_of_its_parts(cpu, step):
  parts = training_step(cpu, batch_size=4, accumulation_steps=2)
  once, twice = (sum(x.counted.flops.values()) for x in (step, parts))
  assert twice == pytest.approx(2 * once, rel=0.02)
  assert not parts.counted.endless


def test_the_parts_of_the_network_have_names_in_the_program(step):
  """The benchmarks tell the parts from one another by these."""
  for name in ('stem', 'stage1', 'stage2', 'stage3', 'stage4', 'pyramid', 'head', 'aux_head'):
    assert f'/jvp({name})/' in step.text and f'/transpose(jvp({name}))/' in step.text
  assert '/optimizer/' in step.text


def test_inference_runs_the_folded_network_and_adds_to_a_canvas(cpu):
  network = Network(5, **TINY)
  found = programs.inference(cpu, network, batch_size=2, crop_size=SIZE)
  folded = sum(4 * math.prod(x.shape) for x in network.folded().param_shapes.values())
  canvas, windows = 128 * 128 * 5 * 4, 2 * math.prod(SIZE) * 3  # float32 and uint8
  assert found.memory['arguments'] == pytest.approx(canvas + folded + windows, rel=0.02)
  assert found.memory['outputs'] == 0  # scores are added to the canvas where it is


@pytest.mark.parametrize(
  ('message', 'needed'),
  [
    ('RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 21.5G of 15.75G hbm.', 21.5),
    (
      'RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries '
      '(64.00G) exceeds available HBM (15.75G).',
      64,
    ),
    ('RESOURCE_EXHAUSTED: too much', math.inf),
  ],
)
def test_what_the_compiler_finds_too_large(message, needed, cpu, monkeypatch):
  def refuse(self, *arguments, **options):
    raise jax.errors.JaxRuntimeError(message)

  monkeypatch.setattr(jax.stages.Lowered, 'compile', refuse)
  with pytest.raises(programs.TooLarge) as found:
    programs.inference(cpu, Network(5, **TINY), batch_size=2, crop_size=SIZE)
  assert found.value.needed == needed * 2**30
