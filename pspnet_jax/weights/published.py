"""Gets the file of a catalogue entry, and the network in it with its authors' conventions."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pspnet_jax.data.prepared import SPECS
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.errors import UserError
from pspnet_jax.inference.protocol import MMSEG, Protocol
from pspnet_jax.runtime.files import write_whole
from pspnet_jax.weights import download, importing, unpacking
from pspnet_jax.weights.catalogue import DATASETS, PAGES, Entry
from pspnet_jax.weights.checksums import is_sound
from pspnet_jax.weights.importing import Converted


def fetch(entry: Entry) -> Path:
  """Takes the file from the cache, or downloads it, and checks it; see `download.fetch`.

  Where no checksum is published, that of the first file that came is kept beside it, and it has to
  stay that file.
  """
  if entry.address is None:
    raise UserError(
      f'{entry.name} has no address of its own: get the file from the folder that '
      f'{PAGES[entry.source]} links, and pspnet convert --input=FILE --output=DIR'
    )
  path = download.cached(entry.address, entry.file)
  first_seen = path.with_name(f'{path.name}.sha256')
  digest = entry.digest or _text_of(first_seen)
  try:
    if entry.is_archive:
      _unpack(entry.address, path, digest)
    else:
      download.fetch(entry.address, digest, path.name)
  except download.WrongChecksum as e:
    if entry.digest:
      raise
    raise UserError(
      f'{entry.address} is not the file that came first, of SHA-256 {digest[:8]}…: remove '
      f'{first_seen} to take the one that is there now.'
    ) from e
  if not digest:
    with path.open('rb') as file:
      write_whole(first_seen, hashlib.file_digest(file, 'sha256').hexdigest())
  return path


def _text_of(path: Path) -> str:
  """The digits in a file of ours; nothing where it is not there."""
  try:
    text = path.read_bytes()[:200].decode('ascii', 'replace').strip()
  except FileNotFoundError:
    return ''
  except OSError as e:
    raise UserError(f'cannot read {path}: {e.strerror or e}.') from e
  if not re.fullmatch(r'[0-9a-f]{64}', text):
    raise UserError(f'{path} holds no SHA-256: remove it to take the file as it comes.')
  return text


def _unpack(address: str, path: Path, digest: str) -> None:
  """Makes `path` of the archive at `address`, which is not kept."""
  if is_sound(path, digest):
    return
  archive = download.fetch(address, '', f'{path.name}.archive')
  try:
    unpacking.unpack(archive, path.suffix, path)
  finally:
    archive.unlink(missing_ok=True)
  if not is_sound(path, digest):
    path.unlink(missing_ok=True)
    raise download.WrongChecksum(
      f'what lies in {address} does not have the checksum {digest}: it is no longer the published '
      'file, and is not kept; try again later.'
    )


def cautions(entry: Entry) -> tuple[str, ...]:
  """What the user should know of how far a file can be trusted: nothing where it is vouched for."""
  if entry.address is None or entry.digest:
    return ()
  return (
    f'No checksum of {entry.name} is published: it was taken as it came over https from '
    f'{urlsplit(entry.address).hostname}, and has to stay that file.',
  )


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
    unnamed=classes(entry),
  )
  card = converted.card
  notes = (*converted.notes, *cautions(entry))
  source = {**(card.source or {}), 'zoo': entry.name, 'address': entry.address}
  source |= {'notes': notes} if notes else {}
  card = dataclasses.replace(
    card,
    crop_size=entry.crop_size or card.crop_size,
    protocol=protocol(entry, card.protocol),
    source=source,
    published=scores(entry),
  )
  return dataclasses.replace(converted, card=card, notes=notes)


def classes(entry: Entry) -> DatasetSpec:
  """The classes of the data set that a whole network was trained on."""
  return SPECS[entry.data.removesuffix('_test')]


def protocol(entry: Entry, of_source: Protocol = MMSEG) -> Protocol:
  """How its score was measured: as its source does, in the box and the windows of its config."""
  boxed = of_source
  if entry.test_scale is not None:
    boxed = dataclasses.replace(of_source, base_size=entry.test_scale)
  if entry.window is None or entry.stride is None:
    return boxed
  return dataclasses.replace(boxed, window=entry.window, stride=entry.stride / entry.window[0])


def scores(entry: Entry) -> dict[str, Any]:
  """The published scores as the card keeps them, mIoU in percent."""
  return {
    'data': DATASETS[entry.data][0],
    'mIoU': entry.score,
    'mIoU_ms': entry.score_ms,
    'source': PAGES[entry.source],
  }
