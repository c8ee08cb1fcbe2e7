"""Gets the file of a catalogue entry, and the network in it with its authors' conventions."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from pspnet_jax.errors import UserError
from pspnet_jax.inference.protocol import MMSEG, Protocol
from pspnet_jax.weights import download, importing
from pspnet_jax.weights.catalogue import DATASETS, PAGES, Entry
from pspnet_jax.weights.importing import Converted


def fetch(entry: Entry) -> Path:
  """Takes the file from the cache, or downloads it, and checks it; see `download.fetch`."""
  if entry.address is None:
    raise UserError(
      f'{entry.name} has no address of its own: get the file from the folder that '
      f'{PAGES[entry.source]} links, and pspnet convert --input=FILE --output=DIR'
    )
  return download.fetch(entry.address, entry.sha256)


def load(entry: Entry) -> Converted:
  """Reads the whole network.

  Raises:
    UserError: if it is only a backbone, or cannot be had.
  """
  if entry.is_backbone:
    raise UserError(
      f'{entry.name} is an ImageNet backbone without a head: train from it with '
      f'--config.init_from={entry.name}, or name a whole PSPNet.'
    )
  converted = importing.convert(
    [fetch(entry)],
    align_corners=entry.align_corners,
    output_stride=entry.output_stride,
  )
  card = converted.card
  card = dataclasses.replace(
    card,
    crop_size=entry.crop_size or card.crop_size,
    protocol=protocol(entry),
    source={**(card.source or {}), 'zoo': entry.name, 'address': entry.address},
    published=scores(entry),
  )
  return dataclasses.replace(converted, card=card)


def protocol(entry: Entry) -> Protocol:
  """How its score was measured; entries with addresses are mmsegmentation's."""
  whole = dataclasses.replace(MMSEG, base_size=entry.test_scale)
  if entry.window is None or entry.stride is None:
    return whole
  return dataclasses.replace(whole, window=entry.window, stride=entry.stride / entry.window[0])


def scores(entry: Entry) -> dict[str, Any]:
  """The published scores as the card keeps them, mIoU in percent."""
  return {
    'data': DATASETS[entry.data][0],
    'mIoU': entry.score,
    'mIoU_ms': entry.score_ms,
    'source': PAGES[entry.source],
  }
