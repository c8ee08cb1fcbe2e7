"""Networks of one's own, as a researcher writes them: other heads on the backbone of a PSPNet."""

import jax
import jax.numpy as jnp
from flax import nnx

from pspnet_jax.models.layers import BatchNorm, Conv, ConvBN
from pspnet_jax.models.pspnet import PSPNet


class Aspp(nnx.Module):
  """Dilated branches; normalised each, normalised as a sum, or before they are projected."""

  def __init__(self, in_channels, out_channels, rates, style, *, rngs):
    self.style = style
    make = ConvBN if style == 'plain' else Conv
    self.branches = nnx.List(
      make(in_channels, out_channels, 3, dilation=rate, rngs=rngs) for rate in rates
    )
    width = out_channels if style == 'summed' else len(rates) * out_channels
    self.bn = None if style == 'plain' else BatchNorm(width)
    self.project = make(width, out_channels, 1, rngs=rngs)

  def __call__(self, x, grids, *, train):
    del grids
    if self.style == 'plain':
      y = jnp.concatenate([branch(x, train=train) for branch in self.branches], -1)
      return self.project(y, train=train)
    branches = [branch(x) for branch in self.branches]
    y = sum(branches) if self.style == 'summed' else jnp.concatenate(branches, -1)
    return jax.nn.relu(self.project(jax.nn.relu(self.bn(y, train=train))))


class AsppNet(PSPNet):
  def __init__(self, num_classes, *, rates=(1, 2, 4), style='plain', rngs, **options):
    super().__init__(num_classes, bins=(), rngs=rngs, **options)
    width = self.classifier.conv.kernel.shape[2]
    self.bottleneck = Aspp(self.backbone.channels, width, rates, style, rngs=rngs)


class FlaxNormHead(nnx.Module):
  """A ConvBN in a list in a dictionary, and flax's own batch normalisation after it."""

  def __init__(self, in_channels, out_channels, *, rngs):
    self.parts = nnx.Dict(
      first=nnx.List([ConvBN(in_channels, out_channels, 1, rngs=rngs)]),
      norm=nnx.BatchNorm(out_channels, momentum=0.9, rngs=rngs),
    )

  def __call__(self, x, grids, *, train):
    del grids
    x = self.parts['first'][0](x, train=train)
    return jax.nn.relu(self.parts['norm'](x, use_running_average=not train))


class FlaxNormNet(PSPNet):
  def __init__(self, num_classes, *, rngs, **options):
    super().__init__(num_classes, bins=(), rngs=rngs, **options)
    width = self.classifier.conv.kernel.shape[2]
    self.bottleneck = FlaxNormHead(self.backbone.channels, width, rngs=rngs)
