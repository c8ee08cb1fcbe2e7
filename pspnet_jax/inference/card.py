"""What has to travel with weights so that they can be used: network, classes, pixels, protocol."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from flax import nnx

from pspnet_jax.data.decode import Exif
from pspnet_jax.data.spec import IMAGENET_MEAN, IMAGENET_STD, DatasetSpec
from pspnet_jax.errors import UserError
from pspnet_jax.inference.protocol import PLAIN, Protocol
from pspnet_jax.models.network import Network
from pspnet_jax.models.pspnet import PSPNet

PSPNET = 'pspnet'  # the name of the network that needs no import


@dataclasses.dataclass(frozen=True)
class Card:
  """Stored as JSON beside the weights.

  Args:
    network: arguments of `Network`, num_classes included; with 'name', package.module:Class, where
      the network is no PSPNet.
    spec: names and colours of the classes.
    crop_size: height and width the network was trained at.
    protocol: how it is evaluated.
    mean, std: of the pixels, RGB, 0-255.
    source: where converted weights come from: 'name' of the implementation, 'files' with checksums.
    published: scores that their authors published, and where.
    exif: how images were held in training, 'upright' or 'stored'; see `decode.read_image`.
  """

  network: Mapping[str, Any]
  spec: DatasetSpec
  crop_size: tuple[int, int]
  protocol: Protocol = PLAIN
  mean: tuple[float, float, float] = IMAGENET_MEAN
  std: tuple[float, float, float] = IMAGENET_STD
  source: Mapping[str, Any] | None = None
  published: Mapping[str, Any] | None = None
  exif: Exif = 'upright'

  def build_network(self, model: type[nnx.Module] | None = None, **options: Any) -> Network:
    """The network without its weights.

    Args:
      model: the network's class where it is no PSPNet.
      **options: further arguments of `Network`.

    Raises:
      UserError: if it is needed and not given: code is never imported because a file names it.
    """
    arguments = {**self.network, **options}
    name = arguments.pop('name', PSPNET)
    if model is None:
      if name != PSPNET:
        raise UserError(
          f'the weights are those of {name}, which is imported only if you name it: give '
          f'--model={name}, or model= in Python, if you trust that code.'
        )
      model = PSPNet
    return Network(**arguments, model=model)

  @property
  def title(self) -> str:
    """The network's name, such as PSPNet-50."""
    name = self.network.get('name', PSPNET)
    if name != PSPNET:
      return str(name).partition(':')[2]
    return f'PSPNet-{self.network.get("depth", 50)}'

  def to_json(self) -> dict[str, Any]:
    return dataclasses.asdict(self) | {'network': dict(self.network)}

  @classmethod
  def from_json(cls, values: Mapping[str, Any]) -> Card:
    v = with_tuples(values)
    return cls(**v | {'spec': DatasetSpec(**v['spec']), 'protocol': Protocol(**v['protocol'])})


def with_tuples(value: Any) -> Any:
  """JSON's lists as the tuples they were."""
  if isinstance(value, Mapping):
    return {k: with_tuples(v) for k, v in value.items()}
  return tuple(map(with_tuples, value)) if isinstance(value, list | tuple) else value
