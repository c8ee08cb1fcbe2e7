"""Networks out of workdirs: one, or several that label images together."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from flax import nnx

from pspnet_jax.errors import UserError
from pspnet_jax.inference.card import PSPNET, Card
from pspnet_jax.inference.ensemble import check_together
from pspnet_jax.models.network import Arrays, Network
from pspnet_jax.weights import digests, folders
from pspnet_jax.weights.loaded import Which


@dataclasses.dataclass(frozen=True)
class Member:
  """A network as it is used.

  Attributes:
    card: with the protocol that was asked for.
    network: without its weights.
    params, batch_stats: these.
    digest: differs where any of the weights does.
    origin: which they are, in words, as 'step 6 of runs/a'.
    note: what the user should know of the names of its classes, a sentence.
  """

  card: Card
  network: Network
  params: Arrays
  batch_stats: Arrays
  digest: str
  origin: str
  note: str | None


def load(
  workdirs: Sequence[Path | str],
  which: Which = 'best',
  *,
  changes: Mapping[str, Any] | None = None,
  model: type[nnx.Module] | None = None,
  ema: bool = True,
  check: Callable[[Card, str], str | None] = lambda card, name: None,
) -> Iterator[Member]:
  """Reads a checkpoint of each workdir, one after the other.

  Args:
    workdirs: of runs or conversions, packed folders, or addresses of the Hub.
    which: the checkpoint of each.
    changes: to the protocol of each card; see `protocol.Protocol.changed`.
    model: the class of those that are no PSPNet; of the only one, whatever it is.
    ema: whether to take the moving average of the parameters, where a run kept one.
    check: is given each card and the name of its workdir before its weights are read, and may
      return a note.

  Raises:
    UserError: if there is no such checkpoint, or it is of another network than `model`; if one was
      given twice, which would weigh it double; for several that do not belong together.
  """
  earlier: dict[str, Card] = {}  # by workdir
  seen: dict[str, Path | str] = {}  # by digest
  for workdir in workdirs:
    notes: list[str | None] = []

    def build(card: Card, name: str = str(workdir), notes: list[str | None] = notes) -> Network:
      notes.append(check(card, name))
      for other, its_card in earlier.items():
        notes.append(check_together(its_card, card, (other, name)))
      mixed = len(workdirs) > 1 and card.network.get('name', PSPNET) == PSPNET
      return card.build_network(None if mixed else model)

    found = folders.load(workdir, which, build, ema=ema)
    earlier[str(workdir)] = found.card
    if found.digest in seen:
      raise UserError(
        f'{seen[found.digest]} and {workdir} hold the same weights, which would weigh double: name '
        'each once.'
      )
    seen[found.digest] = workdir
    yield Member(
      dataclasses.replace(found.card, protocol=found.card.protocol.changed(**(changes or {}))),
      cast('Network', found.network),
      found.params,
      found.batch_stats,
      found.digest,
      f'step {found.step} of {workdir}{found.kind}',
      next(filter(None, notes), None),  # one is enough
    )


def identity(cards: Sequence[Card], weights: Sequence[Any]) -> str:
  """Returns a digest of networks, which differs wherever a card or an array does."""
  each = zip(cards, weights, strict=True)
  known = [[card.to_json(), digests.digest(arrays)] for card, arrays in each]
  return hashlib.sha256(json.dumps(known).encode()).hexdigest()


def together(origins: Sequence[str]) -> str:
  """Says which networks label, in words."""
  return origins[0] if len(origins) == 1 else f'the mean of {" and ".join(origins)}'
