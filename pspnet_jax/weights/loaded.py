"""A network as it comes out of a folder, whatever wrote that folder."""

from __future__ import annotations

import dataclasses
from typing import Literal

from pspnet_jax.inference.card import Card
from pspnet_jax.models.network import Arrays, Network

Which = Literal['best', 'latest'] | int  # of the checkpoints of a workdir


@dataclasses.dataclass(frozen=True)
class Loaded:
  """The network of a checkpoint.

  Attributes:
    step: the checkpoint's number.
    card: what it is.
    network: what was built of the card, if anything.
    params, batch_stats: arrays by name.
    digest: differs where any of the arrays does.
    average: whether the parameters are their moving average, or are not though one was kept; None
      where none was.
  """

  step: int
  card: Card
  network: Network | None
  params: Arrays
  batch_stats: Arrays
  digest: str
  average: bool | None = None

  @property
  def kind(self) -> str:
    """Says which of the two the parameters are, ' (...)', where a moving average was kept."""
    words = {
      None: '',
      True: ' (the moving average of the parameters)',
      False: ' (not their moving average)',
    }
    return words[self.average]
