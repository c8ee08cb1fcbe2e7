"""How the devices of this process share the work on windows: whole windows, or the rows of each."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding

from pspnet_jax.errors import UserError
from pspnet_jax.inference import by_rows, on_device
from pspnet_jax.inference.card import Card
from pspnet_jax.inference.views import Placed, Region, View
from pspnet_jax.models.network import Network
from pspnet_jax.runtime import parallel

Size = tuple[int, int]  # height, width
_log = logging.getLogger(__name__)


class Programs(NamedTuple):
  """What `jax.jit` makes of the functions for one window shape."""

  run: Any  # see `on_device.logits_of`
  add: Any  # see `on_device.add_pieces`


@dataclasses.dataclass(frozen=True)
class Division:
  """What each device of a mesh does.

  By windows, each computes windows of its own, and the first one holds the canvases. By rows, all
  compute a window together: XLA gives each a share of the rows of every activation, and has
  neighbours send it the few rows beyond that a convolution reads. Canvases are divided alike.

  Args:
    mesh: the devices, along one axis.
    by_rows: which of the two.
  """

  mesh: Mesh
  by_rows: bool

  @property
  def together(self) -> int:
    """How many windows are computed at once, or a multiple of it."""
    return 1 if self.by_rows else self.mesh.size

  @property
  def pixels(self) -> Sharding:
    """The place of windows. A device's share of the rows may be no whole number: all get all."""
    return parallel.replicated(self.mesh) if self.by_rows else parallel.split_batch(self.mesh)

  @property
  def logits(self) -> Any:
    """The place of logits, which are small as the network has them."""
    return parallel.replicated(self.mesh) if self.by_rows else self.mesh.devices.flat[0]

  @property
  def canvas(self) -> Any:
    """The place of canvases [H, W, C]."""
    return parallel.split_batch(self.mesh) if self.by_rows else self.mesh.devices.flat[0]

  def canvas_size(self, size: Size) -> Size:
    """Makes a canvas as high as all devices can share in equal parts."""
    height, width = size
    return (-(-height // self.mesh.size) * self.mesh.size if self.by_rows else height), width

  def place(self, view: View, region: Region, canvas: Size) -> list[Placed]:
    """Places windows as `View.place` does; by rows, every piece is as high as the canvas."""
    height, width = view.piece
    return view.place(region, canvas, (canvas[0] if self.by_rows else height, width))

  def programs(
    self,
    folded: Network,
    card: Card,
    shape: tuple[int, ...],
    *,
    mirror: bool,
    compiler_options: Mapping[str, str],
  ) -> Programs:
    """Makes the programs of a folded network for windows of a shape.

    `mirror` says whether their mirror images run, too. The programs are made of functions of
    their own: JAX keeps one cache for all that `jit` makes of one.
    """
    size, align_corners = (shape[0], shape[1]), folded.align_corners
    in_turn = self.by_rows or self.mesh.devices.flat[0].platform == 'cpu'
    options: dict[str, Any] = {'compiler_options': dict(compiler_options)}
    if not self.by_rows:
      run = on_device.logits_of(folded, card, mirror=mirror, in_turn=in_turn)
      add = on_device.add_pieces(card, size, align_corners=align_corners)
      return Programs(jax.jit(run, **options), jax.jit(add, donate_argnums=0, **options))
    rows = NamedSharding(self.mesh, PartitionSpec(None, *self.mesh.axis_names))

    def divided(image: jax.Array) -> jax.Array:  # and with it whatever is made of it
      return jax.lax.with_sharding_constraint(image, rows)

    run = on_device.logits_of(folded, card, mirror=mirror, in_turn=in_turn, divided=divided)
    add = by_rows.add_pieces(card, size, self.mesh, align_corners=align_corners)
    return Programs(
      jax.jit(run, out_shardings=self.logits, **options),
      jax.jit(add, donate_argnums=0, **options),
    )


def divide(card: Card, *, split_height: bool) -> Division:
  """Decides what the devices of this process do.

  Args:
    card: of the network.
    split_height: see `engine.Inference`.

  Raises:
    UserError: for `split_height` where the protocol slides windows.
  """
  mesh = parallel.make_mesh(local=True)
  if split_height and card.protocol.window != 'image':
    raise UserError(
      'eval.split_height divides the rows of whole images among the devices, and this protocol '
      'slides windows, of which each device takes its own anyway: leave it out, or give '
      'eval.whole_images=True.'
    )
  if split_height and mesh.size == 1:
    _log.warning('eval.split_height does nothing here: there is one device.')
  return Division(mesh, by_rows=split_height and mesh.size > 1)
