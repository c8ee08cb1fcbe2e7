"""The network that a folder holds: a workdir's checkpoint, or what `pspnet pack` wrote."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pspnet_jax.inference.card import Card
from pspnet_jax.models.network import Network
from pspnet_jax.runtime import paths, storage
from pspnet_jax.weights import hub, packed, packed_config
from pspnet_jax.weights.loaded import Loaded, Which

Location = Path | str  # of a folder, here or in a bucket, or hf://OWNER/NAME


def local(location: Location) -> Path:
  """The folder, here or in a bucket; what an address of the Hub names is downloaded first.

  Raises:
    UserError: if it cannot be had.
  """
  if paths.is_on_hub(location):
    return hub.fetch(str(location))
  folder = storage.given(location)
  storage.check(folder)
  return folder


def check(location: Location) -> None:
  """Raises UserError if there is no network, without reading one."""
  folder = local(location)
  if packed.is_packed(folder):
    packed_config.read(folder)
    return
  from pspnet_jax.weights.checkpoints import Checkpoints

  with Checkpoints(folder, read_only=True):
    pass


def load(
  location: Location,
  which: Which = 'best',
  build: Callable[[Card], Network | None] = lambda card: None,
  *,
  ema: bool = True,
) -> Loaded:
  """The card and the arrays of one network.

  Args:
    location: of a run, a conversion or a packed folder, or an address of the Hub.
    which, build, ema: see `Checkpoints.load`.

  Raises:
    UserError: if there is none, it is of another network, or damaged.
  """
  folder = local(location)
  if packed.is_packed(folder):
    return packed.load(folder, which, build, ema=ema)
  from pspnet_jax.weights.checkpoints import Checkpoints  # Orbax, which packed folders do without

  with Checkpoints(folder, read_only=True) as checkpoints:
    return checkpoints.load(which, build, ema=ema)
