import pytest

from pspnet_jax.runtime import compiler_options


def test_those_that_xla_has_not_are_left_out():
  for train in (True, False):
    assert len(compiler_options.for_network('cpu', train=train)) == 2
  assert len(compiler_options.for_network('cpu', train=True, dtype='bfloat16')) == 1
  options = {'xla_disable_hlo_passes': 'cse', 'xla_of_another_year': 'yes'}
  assert compiler_options.known(options) == {'xla_disable_hlo_passes': 'cse'}


@pytest.mark.parametrize('platform', ['gpu', 'tpu'])
def test_accelerators_need_none(platform):
  assert not compiler_options.for_network(platform, train=True)
  assert not compiler_options.for_network(platform, train=False)
