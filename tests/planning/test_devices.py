import jax
import pytest

from pspnet_jax.errors import UserError
from pspnet_jax.planning import devices


@pytest.mark.parametrize(
  ('name', 'says'),
  [
    ('h10', r"no topology 'h10': did you mean h100\? There are h100, h100:8, h200:8, a100:8, v5e"),
    ('nonsense', r"no topology 'nonsense': there are h100"),
    ('', 'there are h100'),
    ('v6:2x2', r'did you mean v6e:2x2\?'),
    ('h100:0', "'h100:0' has no such layout: write it as h100:8"),
    ('h100:2x2', 'write it as h100:8'),
    ('v5e', 'write it as v5e:2x2'),
    ('v5e:4', 'write it as v5e:2x2'),
  ],
)
def test_a_topology_that_does_not_exist_is_refused_with_those_that_do(name, says):
  with pytest.raises(UserError, match=says):
    devices.open_topology(name)


@pytest.mark.parametrize(
  ('name', 'error', 'says'),
  [
    ('h100', NotImplementedError('not for cuda'), r'H100 .* is not installed here: .*jax\[cuda12'),
    ('v5e:2x2', RuntimeError('no TPU support'), r'TPU v5e is not installed here: .*jax\[tpu\]'),
    (
      'v5e:3x5',
      jax.errors.JaxRuntimeError('INVALID_ARGUMENT: 3x5 is not divisible\nMore'),
      "'v5e:3x5' cannot be made: 3x5 is not divisible.",
    ),
  ],
)
def test_a_compiler_that_is_not_there_is_one_sentence_with_the_remedy(
  name, error, says, monkeypatch
):
  def refuse(*arguments, **options):
    raise error

  monkeypatch.setattr(devices.topologies, 'get_topology_desc', refuse)
  with pytest.raises(UserError, match=says):
    devices.open_topology(name)


@pytest.mark.parametrize(
  ('name', 'count'), [('h100', 1), ('h200', 1), ('a100:8', 8), ('v5e:2x2', 4)]
)
def test_topologies_of_compilers_that_are_installed(name, count):
  try:
    topology = devices.open_topology(name)
  except UserError as e:
    pytest.skip(str(e))
  assert len(topology.devices) == count
  assert topology.mesh.shape == {'data': count}
  assert {x.platform for x in topology.devices} == {topology.device.platform}


def test_the_least_time_is_that_of_each_kind_of_product():
  h100, _ = devices.DEVICES['h100']
  assert h100.seconds({'bf16': 989.4e12}) == pytest.approx(1)
  assert h100.seconds({'bf16 highest': 989.4e12}) == pytest.approx(1)  # it has no other
  assert h100.seconds({'f32 highest': 66.9e12, 'f32': 494.7e12}) == pytest.approx(2)
  assert h100.seconds({'f32 bf16_bf16_f32_x3': 989.4e12}) == pytest.approx(3)
  v5e, _ = devices.DEVICES['v5e']
  assert v5e.seconds({'f32 highest': 197e12}) == pytest.approx(6)


def test_jax_takes_three_quarters_of_a_gpu_unless_it_is_told(monkeypatch):
  h100 = devices.Topology('h100', devices.DEVICES['h100'][0], ())
  monkeypatch.delenv('XLA_PYTHON_CLIENT_MEM_FRACTION', raising=False)
  assert h100.usable_memory() == h100.device.memory * 3 // 4
  monkeypatch.setenv('XLA_PYTHON_CLIENT_MEM_FRACTION', '.9')
  assert h100.usable_memory() == pytest.approx(0.9 * h100.device.memory, abs=1)
  v5e = devices.Topology('v5e:2x2', devices.DEVICES['v5e'][0], ())
  assert v5e.usable_memory() == v5e.device.memory
  monkeypatch.setenv('XLA_PYTHON_CLIENT_MEM_FRACTION', 'much')
  with pytest.raises(UserError, match="is 'much': give a share"):
    h100.usable_memory()
