"""What our exports say beside the arrays, because the arrays do not, and how it is read back.

It is one line of JSON under a key of its own, which other programs do not look at. Whoever reads it
has the file from somewhere: nothing is taken that was not looked at.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.errors import UserError
from pspnet_jax.inference.card import Card, with_tuples
from pspnet_jax.inference.protocol import Protocol
from pspnet_jax.models.pspnet import PSPNet
from pspnet_jax.runtime.limits import PIXELS
from pspnet_jax.weights.foreign.origin import CONVENTIONS, Conventions

KEY = 'pspnet_jax'
_LONGEST = 1_000_000  # characters; 255 classes take 20,000


@dataclasses.dataclass(frozen=True)
class WrittenCard:
  """What shapes do not tell, as the network's own card had it."""

  conventions: Conventions
  spec: DatasetSpec


def options_of(card: Card) -> dict[str, Any]:
  """All arguments of the PSPNet, its defaults where the card has none."""
  parameters = inspect.signature(PSPNet.__init__).parameters.values()
  defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
  return {**defaults, **with_tuples(card.network)}


def text_of(card: Card) -> str:
  """The line for a network."""
  options = options_of(card)  # another source has other defaults
  network = {name: options[name] for name in _NETWORK}
  values = dataclasses.asdict(card) | {'network': network}
  for name in ('source', 'published'):
    del values[name]
  return json.dumps(values)


def read(text: Any, where: str) -> WrittenCard:
  """The card in such a line.

  Raises:
    UserError: if a value is missing or is none that a network could have.
  """
  try:
    if not isinstance(text, str) or len(text) > _LONGEST:
      raise ValueError('no text')
    values = with_tuples(json.loads(text))
    crop_size, protocol = values['crop_size'], values['protocol']
    _check('crop_size', _is_size(crop_size), crop_size)
    _check_all(values['network'], _NETWORK)
    _check_all(protocol, _PROTOCOL)
    for name in ('mean', 'std'):
      fits = _numbers(values[name], 3, -1e6, 1e6) and (name == 'mean' or min(values[name]) > 0)
      _check(name, fits, values[name])
    names, palette = values['spec']['class_names'], values['spec']['palette']
    _check('class_names', _are(names, str), names)
    _check('palette', all(_whole_numbers(colour, 3, 0, 255) for colour in palette), palette)
    return WrittenCard(
      Conventions(
        values['network'], crop_size, Protocol(**protocol), values['mean'], values['std']
      ),
      DatasetSpec(names, palette),
    )
  except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as e:
    reason = str(e).rstrip('.') if isinstance(e, UserError) else type(e).__name__
    raise UserError(
      f'{where}: what stands beside the arrays under {KEY!r} cannot be used ({reason[:200]}): '
      'export the network again, or remove that entry.'
    ) from e


def _check(name: str, fits: bool, value: Any) -> None:
  if not fits:
    raise UserError(f'{name}={str(value)[:40]}')


def _check_all(values: Mapping[str, Any], checks: Mapping[str, Callable[[Any], bool]]) -> None:
  for name, value in values.items():
    _check(str(name)[:40], name in checks and checks[name](value), value)


def _are(values: Any, kind: type) -> bool:
  return isinstance(values, tuple) and all(type(value) is kind for value in values)


def _whole_numbers(values: Any, count: int | None, least: int, most: int) -> bool:
  if not _are(values, int) or (count is not None and len(values) != count):
    return False
  return all(least <= value <= most for value in values)


def _numbers(values: Any, count: int | None, least: float, most: float) -> bool:
  if not isinstance(values, tuple) or (count is not None and len(values) != count):
    return False
  return all(type(x) in (int, float) and least <= x <= most for x in values)


def _is_size(value: Any) -> bool:
  return _whole_numbers(value, 2, 1, 1 << 20) and value[0] * value[1] <= PIXELS.value


def _is_flag(value: Any) -> bool:
  return isinstance(value, bool)


_NETWORK: dict[str, Callable[[Any], bool]] = {
  'output_stride': lambda x: type(x) is int and x in (8, 16, 32),
  'dilations': lambda x: x is None or _whole_numbers(x, 4, 1, 1000),
  **dict.fromkeys(
    ('align_corners', 'contract_dilation', 'dilate_conv2', 'stride_in_1x1', 'avg_down'), _is_flag
  ),
  'pooling': lambda x: x == 'avg',  # no other program has the other
  'bins': lambda x: _whole_numbers(x, None, 1, 1000) and 0 < len(x) <= 32,
  'dropout_rate': lambda x: _numbers((x,), 1, 0, 0.999),
  'dropout_kind': lambda x: x in ('channel', 'element'),
}
assert set(CONVENTIONS) < _NETWORK.keys()
_PROTOCOL: dict[str, Callable[[Any], bool]] = {
  **dict.fromkeys(
    ('resize', 'resampling', 'padding', 'flip_rule', 'average', 'resize_back', 'absent_classes'),
    lambda x: isinstance(x, str),  # `Protocol` has the choices
  ),
  'base_size': lambda x: x is None or (_whole_numbers(x, None, 1, 1 << 20) and len(x) <= 2),
  'extra': lambda x: _whole_numbers((x,), 1, 0, 1000),
  'scales': lambda x: _numbers(x, None, 1e-3, 100) and 0 < len(x) <= 100,
  'window': lambda x: x in ('crop', 'image') or _is_size(x),
  'stride': lambda x: _numbers((x,), 1, 1e-3, 1),
  'blend': _is_flag,
  'flip': _is_flag,
}
