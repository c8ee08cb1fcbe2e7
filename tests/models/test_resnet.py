import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from pspnet_jax.errors import UserError
from pspnet_jax.models.layers import ConvBN
from pspnet_jax.models.resnet import DEPTHS, Bottleneck, ResNet


def abstract(depth, **options) -> ResNet:
  return nnx.eval_shape(lambda: ResNet(depth, width=4, rngs=nnx.Rngs(0), **options))


def shapes(net: ResNet, height: int, width: int):
  graphdef, state = nnx.split(net)

  def run(state, image):
    return nnx.merge(graphdef, state)(image, train=False)

  image = jax.ShapeDtypeStruct((2, height, width, 3), jnp.float32)
  return [x.shape for x in jax.eval_shape(run, state, image)]


@pytest.mark.parametrize(('output_stride', 'stage3_stride'), [(8, 8), (16, 16), (32, 16)])
@pytest.mark.parametrize('stem_channels', [(4, 4, 8), (8,)])
@pytest.mark.parametrize('size', [(473, 713), (64, 40), (33, 1)])
def test_an_output_cell_spans_the_stride(size, stem_channels, output_stride, stage3_stride):
  net = abstract(50, output_stride=output_stride, stem_channels=stem_channels)
  cells = {stride: [-(-s // stride) for s in size] for stride in (8, 16, 32)}
  stage3, stage4 = shapes(net, *size)
  assert stage3 == (2, *cells[stage3_stride], 64)
  assert stage4 == (2, *cells[output_stride], 128) and net.channels == 128


@pytest.mark.parametrize('depth', DEPTHS)
def test_every_depth_builds(depth):
  net = abstract(depth)
  stages = [net.stage1, net.stage2, net.stage3, net.stage4]
  assert tuple(map(len, stages)) == DEPTHS[depth][1]
  convs = sum(3 if DEPTHS[depth][0] else 2 for stage in stages for _ in stage)
  assert convs + 2 == {10: 10, 18: 18, 34: 34, 50: 50, 101: 101, 152: 152, 269: 269}[depth]


@pytest.mark.parametrize('depth', [18, 50])
@pytest.mark.parametrize(
  ('options', 'first', 'others'),
  [
    ({}, (1, 1, 2, 4), (1, 1, 2, 4)),
    ({'contract_dilation': True}, (1, 1, 1, 2), (1, 1, 2, 4)),
    ({'contract_dilation': True, 'dilate_conv2': True}, (1, 1, 1, 2), (1, 1, 2, 4)),
    ({'output_stride': 16}, (1, 1, 1, 2), (1, 1, 1, 2)),
    ({'output_stride': 16, 'contract_dilation': True}, (1, 1, 1, 1), (1, 1, 1, 2)),
    (
      {'output_stride': 32, 'contract_dilation': True, 'dilations': (1, 1, 2, 4)},
      (1, 1, 1, 2),
      (1, 1, 2, 4),
    ),
    ({'output_stride': 32, 'contract_dilation': True}, (1, 1, 1, 1), (1, 1, 1, 1)),
    (  # mmseg's pspnet_r50-d32
      {'output_stride': 32, 'contract_dilation': True, 'dilations': (1, 1, 2, 4)},
      (1, 1, 1, 2),
      (1, 1, 2, 4),
    ),
  ],
)
def test_dilation_follows_the_published_tables(depth, options, first, others):
  net = abstract(depth, **options)
  bottleneck = DEPTHS[depth][0]
  for i, stage in enumerate((net.stage1, net.stage2, net.stage3, net.stage4)):
    dilations = [(b.conv2 if bottleneck else b.conv1).conv.dilation for b in stage]
    assert dilations == [first[i]] + [others[i]] * (len(stage) - 1)
    if not bottleneck:
      second = others[i] if options.get('dilate_conv2') else 1
      assert {b.conv2.conv.dilation for b in stage} == {second}


@pytest.mark.parametrize('stride_in_1x1', [True, False])
def test_stride_sits_where_it_is_asked_for(stride_in_1x1):
  block = abstract(50, stride_in_1x1=stride_in_1x1).stage2[0]
  assert isinstance(block, Bottleneck)
  expected = (2, 1) if stride_in_1x1 else (1, 2)
  assert (block.conv1.conv.stride, block.conv2.conv.stride) == expected
  assert block.projection.conv.stride == 2


@pytest.mark.parametrize('depth', [18, 50])
@pytest.mark.parametrize(('output_stride', 'pooled'), [(8, (2,)), (16, (2, 3)), (32, (2, 3, 4))])
def test_shortcuts_pool_where_they_would_stride(depth, output_stride, pooled):
  net = abstract(depth, output_stride=output_stride, avg_down=True)
  firsts = {i: getattr(net, f'stage{i}')[0] for i in (1, 2, 3, 4)}
  assert tuple(i for i, block in firsts.items() if block.pooled) == pooled
  assert {block.projection.conv.stride for block in firsts.values() if block.projection} == {1}
  assert not any(block.pooled for i in firsts for block in list(getattr(net, f'stage{i}'))[1:])


def test_stage3_is_returned_beside_stage4():
  net = ResNet(10, width=2, stem_channels=(2, 2, 2), rngs=nnx.Rngs(0))
  image = jnp.asarray(np.random.default_rng(0).normal(size=(1, 16, 16, 3)), jnp.float32)
  stage3, stage4 = net(image, train=False)
  np.testing.assert_array_equal(net.stage4[0](stage3, train=False), stage4)


@pytest.mark.parametrize(
  ('options', 'named'),
  [
    ({'depth': 20}, r'depth 20 is not one of \[10, 18'),
    ({'depth': 50, 'output_stride': 4}, 'output stride 4'),
    ({'depth': 50, 'dilations': (1, 2)}, r'dilations \(1, 2\): give four'),
    ({'depth': 50, 'stem_channels': (1, 2, 3, 4)}, r'stem_channels \(1, 2, 3, 4\)'),
  ],
)
def test_bad_values_are_named(options, named):
  with pytest.raises(UserError, match=named):
    ResNet(**options, rngs=nnx.Rngs(0))


class Doubled(ConvBN):
  def __call__(self, x, *, train):
    return 2 * super().__call__(x, train=train)


class Centred(nnx.Module):
  """A normalisation of one's own; it knows nothing of ReLUs."""

  def __call__(self, x, *, train):
    return x - x.mean((1, 2), keepdims=True)


@pytest.mark.parametrize('train', [False, True])
@pytest.mark.parametrize('part', ['conv2', 'conv3', 'projection'])
def test_what_replaces_a_part_of_a_block_is_called(part, train):
  options = {'stride': 1, 'dilations': (1, 1), 'stride_in_1x1': False, 'avg_down': False}
  block = Bottleneck(4, 2, **options, rngs=nnx.Rngs(0))
  x = jax.random.normal(jax.random.key(0), (2, 5, 5, 4))

  def by_hand():
    y = block.conv3(block.conv2(block.conv1(x, train=train), train=train), train=train)
    return jax.nn.relu(y + block.projection(x, train=train))

  np.testing.assert_allclose(block(x, train=train), by_hand(), rtol=1e-4, atol=1e-5)
  old = getattr(block, part)
  sides = old.conv.kernel.shape
  new = Doubled(sides[2], sides[3], sides[0], relu=old.relu, rngs=nnx.Rngs(1))
  setattr(block, part, new)
  np.testing.assert_allclose(block(x, train=train), by_hand(), rtol=1e-4, atol=1e-5)
  old.bn = Centred()
  setattr(block, part, old)
  np.testing.assert_allclose(block(x, train=train), by_hand(), rtol=1e-4, atol=1e-5)
