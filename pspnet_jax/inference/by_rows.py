"""Scores added to a canvas whose rows are divided among devices: each computes those of its own."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh, PartitionSpec

from pspnet_jax.inference.card import Card
from pspnet_jax.inference.on_device import Pieces, paste, resampled_columns, scores_of
from pspnet_jax.ops.images import bilinear_matrix, resize, times_rows


def add_pieces(
  card: Card, size: tuple[int, int], mesh: Mesh, *, align_corners: bool
) -> Callable[[jax.Array, jax.Array, Pieces], jax.Array]:
  """Makes what `on_device.add_pieces` makes, for a canvas that is divided among devices.

  Each device has an equal share of the rows of the canvas [H, W, C], and all have the logits of a
  batch. Pieces have as many rows as the canvas. A device computes the scores of those rows of a
  window that its rows of the canvas are interpolated from, one tap after the other: it holds no
  more than its share, and nothing is sent.
  """
  scores_by = scores_of(card)

  def add(canvas: jax.Array, logits: jax.Array, pieces: Pieces) -> jax.Array:
    def step(canvas: jax.Array, piece: Pieces) -> tuple[jax.Array, None]:
      of_window = lax.dynamic_index_in_dim(logits, piece.window, keepdims=False)

      def add_tap(total: jax.Array, tap: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        index, weight = tap  # rows of the window, [H / devices]
        scores = scores_by(
          of_window,
          functools.partial(_upsampled_rows, rows=index, size=size, align_corners=align_corners),
        )
        return total + weight[:, None, None] * scores, None

      nothing = jnp.zeros((canvas.shape[0], size[1], canvas.shape[2]), canvas.dtype)
      taps = jnp.asarray(piece.row_index).T, jnp.asarray(piece.row_weight).T
      rows, _ = lax.scan(add_tap, nothing, taps)  # [H / devices, w, C]
      return paste(canvas, resampled_columns(rows, piece), piece), None

    return lax.scan(step, canvas, pieces)[0]

  own, every = PartitionSpec(*mesh.axis_names), PartitionSpec()
  taps = PartitionSpec(None, *mesh.axis_names)
  by_name: dict[str, Any] = {'row_index': taps, 'row_weight': taps}
  of_pieces: Any = Pieces(*(by_name.get(name, every) for name in Pieces._fields))
  return jax.shard_map(
    add, mesh=mesh, in_specs=(own, every, of_pieces), out_specs=own, check_vma=False
  )


def _upsampled_rows(
  logits: jax.Array, *, rows: jax.Array, size: tuple[int, int], align_corners: bool
) -> jax.Array:
  """Resizes [h', w', C] to `size`, as the network would, but for rows of the result alone.

  Args:
    logits: of a window.
    rows: int32 [R], which rows.
    size: height and width of all of the result.
    align_corners: see `bilinear_matrix`.

  Returns:
    [R, w, C].
  """
  matrix = jnp.asarray(bilinear_matrix(logits.shape[0], size[0], align_corners), logits.dtype)
  found = times_rows(matrix[rows], logits[None])  # [1, R, w', C]
  return resize(found, (found.shape[1], size[1]), align_corners=align_corners)[0]
