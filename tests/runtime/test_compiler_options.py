import jax
import pytest

from pspnet_jax.runtime import compiler_options


def test_those_that_xla_has_not_are_left_out():
  for train in (True, False):
    assert len(compiler_options.for_network('cpu', train=train)) == 2
  assert len(compiler_options.for_network('cpu', train=True, dtype='bfloat16')) == 1
  options = {'xla_disable_hlo_passes': 'cse', 'xla_of_another_year': 'yes'}
  assert compiler_options.known(options, 'cpu') == {'xla_disable_hlo_passes': 'cse'}


@pytest.mark.parametrize('platform', ['gpu', 'tpu'])
def test_one_accelerator_needs_none(platform):
  assert not compiler_options.for_network(platform, train=True)
  assert not compiler_options.for_network(platform, train=False)


def test_a_program_for_a_gpu_that_is_not_here_keeps_its_options():
  assert jax.default_backend() == 'cpu'
  options = compiler_options.for_network('gpu', train=True, devices=8)
  assert options == {'xla_gpu_enable_latency_hiding_scheduler': 'True'}
  assert not compiler_options.for_network('tpu', train=True, devices=8)


def test_the_compiler_of_the_devices_is_asked(monkeypatch):
  asked = []

  def of_platform(backend=None):
    asked.append(backend)
    if backend == 'gpu':
      raise RuntimeError('Unknown backend')
    return jax.devices()

  monkeypatch.setattr(jax, 'local_devices', of_platform)
  assert compiler_options.known({'xla_gpu_autotune_level': '3'}, 'gpu')
  assert compiler_options.known({'xla_gpu_autotune_level': '3'}, 'cpu')
  assert asked == ['gpu', None, 'cpu']


def test_determinism_is_asked_of_gpus_alone_and_only_on_request():
  for platform in ('cpu', 'tpu'):
    for train in (True, False):
      plain = compiler_options.for_network(platform, train=train)
      assert compiler_options.for_network(platform, train=train, deterministic=True) == plain
  options = compiler_options.for_network('gpu', train=True, devices=2, deterministic=True)
  assert options['xla_gpu_deterministic_ops'] == 'True' and options['xla_gpu_autotune_level'] == '0'
  # XLA knows all of them: it refuses names and values that it does not, on whatever platform.
  jax.jit(lambda: 0, compiler_options=options).lower().compile()


def test_determinism_that_xla_cannot_give_is_not_left_out(monkeypatch):
  monkeypatch.setattr(compiler_options, '_is_known', lambda *_: False)
  options = compiler_options.for_network('gpu', train=True, devices=2, deterministic=True)
  assert 'xla_gpu_deterministic_ops' in options
  assert 'xla_gpu_enable_latency_hiding_scheduler' not in options
