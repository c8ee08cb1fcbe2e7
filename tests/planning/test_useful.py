import jax
import jax.numpy as jnp
import pytest
from jax import lax

from pspnet_jax.models.network import Network
from pspnet_jax.planning import useful


def test_useful_flops_are_those_of_the_published_network():
  """The table of docs/performance.md counts them by hand, in multiplications."""
  network = Network(150, depth=50)
  inference = useful.flops(network, 1, (473, 473), train=False)
  assert inference / 2 == pytest.approx(161.6e9, rel=0.005)
  step = useful.flops(network, 2, (473, 473), train=True)
  assert step / 2 == pytest.approx(2 * 3 * (161.6e9 + 8.5e9), rel=0.005)


def test_of_branches_for_platforms_only_the_one_in_question_counts():
  def product(x):
    return lax.platform_dependent(x, cpu=lambda x: x @ x @ x, default=lambda x: x @ x)

  x = jax.ShapeDtypeStruct((8, 8), jnp.float32)
  assert useful.of_products(product, x, platform='cpu') == 2 * 2 * 8**3
  assert useful.of_products(product, x, platform='cuda') == 2 * 8**3
