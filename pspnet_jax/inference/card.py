"""What has to travel with weights so that they can be used: network, classes, pixels, protocol."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping
from typing import Any

from flax import nnx

from pspnet_jax.data.spec import IMAGENET_MEAN, IMAGENET_STD, DatasetSpec, Exif
from pspnet_jax.errors import UserError
from pspnet_jax.inference.protocol import PLAIN, Protocol
from pspnet_jax.models.network import Arrays, Network
from pspnet_jax.models.pspnet import PSPNet
from pspnet_jax.runtime import annotated
from pspnet_jax.runtime.limits import PIXELS
from pspnet_jax.runtime.plain_text import printable

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
    source: where converted weights come from: 'name' of the implementation, 'files' with checksums,
      'notes' on what was chosen and left out.
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
    """The card that `to_json` described.

    Raises:
      UserError: if it describes none, or no network that there can be.
    """
    try:
      v = with_tuples(values)
    except RecursionError as e:
      raise _damaged('its values lie too deep within one another') from e
    if not isinstance(v, Mapping):
      raise _damaged('it is no dictionary')
    spec, protocol = (
      _made(kind, v.get(name, {}), name)
      for kind, name in ((DatasetSpec, 'spec'), (Protocol, 'protocol'))
    )
    card = _made(cls, {**v, 'spec': spec, 'protocol': protocol}, 'card')
    colours = all(abs(x) <= 1e6 for x in card.mean) and all(0 < x <= 1e6 for x in card.std)
    if min(card.crop_size) < 1 or not colours:
      raise _damaged('crop_size and std have to be positive, and mean a colour')
    if excess := PIXELS.exceeded_by(math.prod(card.crop_size)):
      raise _damaged(f'its crop_size has {excess}')
    _check_network(card)
    return card


def described(card: Card, network: Network, params: Arrays) -> str:
  """Says in a line what a network is: depth, classes, protocol, parameters that label an image."""
  height, width = card.crop_size
  depth = network.options.get('depth')
  count = sum(x.size for name, x in params.items() if not name.startswith('aux_head/'))
  parts = [
    f'{network.model.__name__}-{depth}' if depth else network.model.__name__,
    f'{card.spec.num_classes} classes',
    f'crop {height}×{width}',
    card.protocol.describe(card.crop_size),
    f'{count / 1e6:.1f} M parameters' if count >= 1e6 else f'{count:,} parameters',
  ]
  return ', '.join(parts)


def _made(kind: type[Any], values: Any, name: str) -> Any:
  """An object of a dataclass, of whose fields the values have to be."""
  hints = typing.get_type_hints(kind)
  if not isinstance(values, Mapping):
    raise _damaged(f'its {name} is no dictionary')
  needed = {f.name for f in dataclasses.fields(kind) if f.default is dataclasses.MISSING}
  for key in {*values, *needed}:
    if key not in hints or key not in values:
      raise _damaged(
        f'its {name} {"knows no" if key in values else "lacks"} {printable(str(key)[:80])}'
      )
    _check_value(values[key], hints[key], key)
  return kind(**values)


def _check_network(card: Card) -> None:
  name = card.network.get('name', PSPNET)
  classes = card.network.get('num_classes')
  if classes != card.spec.num_classes:
    raise _damaged(f'its network has num_classes={classes!r} for {card.spec.num_classes} classes')
  if not isinstance(name, str):
    raise _damaged('the name of its network is no text')
  if name != PSPNET:
    return  # whose class is the user's own
  hints = typing.get_type_hints(PSPNet.__init__) | {'name': str, 'dtype': str}
  for key, value in card.network.items():
    if key not in hints or key == 'rngs':
      raise _damaged(f'a PSPNet has no argument {printable(str(key)[:80])}')
    _check_value(value, hints[key], key)


def _check_value(value: Any, annotation: Any, key: str) -> None:
  long = isinstance(value, tuple) and len(value) > 1000
  none = value is None and not annotated.may_be_none(annotation)
  if long or none or not annotated.fits(value, annotation):
    raise _damaged(f'its {key} is {str(value)[:80]!r}, and not {annotated.described(annotation)}')


def _damaged(how: str) -> UserError:
  return UserError(f'the card of the weights is damaged, {how}: restore it from a copy.')


def with_tuples(value: Any) -> Any:
  """JSON's lists as the tuples they were."""
  if isinstance(value, Mapping):
    return {k: with_tuples(v) for k, v in value.items()}
  return tuple(map(with_tuples, value)) if isinstance(value, list | tuple) else value
