"""A folder that can be shared: weights as .safetensors, and all else that belongs to them as JSON.

It is what a repository of Hugging Face's Hub holds, and is read without Orbax:

    model.safetensors   parameters and batch statistics by our names
    config.json         the card, figures, the training's config, a SHA-256 of each array
    README.md           the model card, for people; and the pictures in it
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from pspnet_jax.errors import UserError
from pspnet_jax.inference.card import Card
from pspnet_jax.models.network import Arrays, Network
from pspnet_jax.runtime import storage
from pspnet_jax.runtime.files import refuse_links, write_together
from pspnet_jax.runtime.limits import BYTES
from pspnet_jax.weights import packed_config
from pspnet_jax.weights.digests import digest, sha256_of_each
from pspnet_jax.weights.foreign import reading, safetensors_file
from pspnet_jax.weights.foreign.name_table import listed, shown
from pspnet_jax.weights.foreign.stored import StoredArray
from pspnet_jax.weights.loaded import Loaded, Which
from pspnet_jax.weights.packed_config import About, Packed, read, sha256

WEIGHTS, CONFIG, README = 'model.safetensors', packed_config.NAME, 'README.md'


def is_packed(folder: Path) -> bool:
  """Whether a folder is one that `write` wrote, whole or damaged, and not a run's.

  Raises:
    UserError: if it is one in a bucket, which is not read.
  """
  found = (folder / WEIGHTS).is_file() and not (folder / 'checkpoints').is_dir()
  if found and storage.is_remote(folder):
    raise UserError(
      f'{folder} is a packed folder in a bucket, where none is read: copy it to this computer with '
      f'`gcloud storage cp -r {folder} .`.'
    )
  return found


def check_target(folder: Path) -> None:
  """Raises UserError if a folder holds what is not to be written over.

  That is anything where no packed folder is, and a model card that somebody has changed by hand.
  """
  if not folder.exists():
    return
  if not folder.is_dir():
    raise UserError(f'{folder} is a file, and a folder is to be written: name another.')
  if not any(folder.iterdir()):
    return
  if not is_packed(folder):
    raise UserError(
      f'{folder} holds files, and not those of a packed network: name a new folder or an empty one.'
    )
  earlier = read(folder)
  refuse_links(folder, [WEIGHTS, CONFIG, README, *earlier.files])
  readme = folder / README
  if readme.is_file() and sha256(readme.read_bytes()) != earlier.files.get(README):
    raise UserError(
      f'{readme} was changed since it was packed, and would be written anew: rename or remove it.'
    )


def write(folder: Path, network: Loaded, about: About, files: Mapping[str, bytes]) -> None:
  """Writes a packed folder, or replaces the files of one; what else lies there stays.

  All files reach the disk before the first takes its name.

  Args:
    folder: see `check_target`.
    network: with the weights.
    about: for config.json.
    files: the content of README.md and of pictures by their names.

  Raises:
    UserError: if it cannot be written, or an array has a dtype that .safetensors has not.
  """
  check_target(folder)
  earlier = read(folder).files if is_packed(folder) else {}
  refuse_links(folder, files)  # whatever names its config.json states
  items = {
    name: {key: np.asarray(x) for key, x in arrays.items()}
    for name, arrays in (('params', network.params), ('batch_stats', network.batch_stats))
  }
  config = Packed(
    card=network.card,
    step=network.step,
    average=network.average,
    about=about,
    params=sha256_of_each(items['params']),
    batch_stats=sha256_of_each(items['batch_stats']),
    files={name: sha256(content) for name, content in files.items()},
  )
  weights = safetensors_file.to_bytes(
    items['params'] | items['batch_stats'], {'format': packed_config.FORMAT}
  )
  contents: dict[str, bytes | str | None] = {
    **dict.fromkeys(earlier),  # what is no more
    **files,
    CONFIG: packed_config.text_of(config),
    WEIGHTS: weights,
  }
  write_together({folder / name: content for name, content in contents.items()})


def content(folder: Path, name: str) -> bytes | None:
  """What was packed under a name beside the weights, as it was; None where it is not that.

  A link is not followed: a folder of somebody else's could lead to any file.

  Raises:
    UserError: if config.json cannot be read.
  """
  path, expected = folder / name, read(folder).files.get(name)
  if expected is None or path.is_symlink() or not path.is_file():
    return None
  try:
    found = path.read_bytes()
  except OSError:
    return None
  return found if sha256(found) == expected else None


def load(
  folder: Path,
  which: Which = 'best',
  build: Callable[[Card], Network | None] = lambda card: None,
  *,
  ema: bool = True,
) -> Loaded:
  """The card and the arrays of a packed folder, each of which is as it was when it was packed.

  Arguments are those of `Checkpoints.load`.

  Raises:
    UserError: if the folder has not what was asked for, or an array is missing, too many, of
      another network or not as it was; it names the array.
  """
  path, found = folder / WEIGHTS, read(folder)
  if isinstance(which, int) and which != found.step:
    raise UserError(
      f'{folder} has no step {which}: a packed folder holds one, and this one step {found.step}.'
    )
  if found.average and not ema:
    raise UserError(
      f'{folder} holds the moving average of the parameters alone: pack the others from the '
      'workdir, or leave out --noema.'
    )
  network = build(found.card)
  expected = {**found.params, **found.batch_stats}
  with reading.opened(path) as stored:
    _check_names(path, stored, expected)
    if network is not None:
      _check_fits(path, found, stored, network)
    if too_much := BYTES.exceeded_by(sum(x.nbytes for x in stored.values())):
      raise UserError(f'{path}: its arrays take {too_much}.')
    arrays = {name: _values(stored[name]) for name in expected}
  digests = sha256_of_each(arrays)
  for name, wanted in expected.items():
    if digests[name] != wanted:
      raise UserError(
        f'{path}: {shown(name)} is not what was packed (its SHA-256 differs): download or copy the '
        'folder again.'
      )
  params, batch_stats = (_on_device(arrays, x) for x in (found.params, found.batch_stats))
  digested = ' '.join(digest(x) for x in (batch_stats, params) if x)  # as of a checkpoint
  return Loaded(found.step, found.card, network, params, batch_stats, digested, found.average)


def _on_device(arrays: Mapping[str, np.ndarray], names: Mapping[str, str]) -> Arrays:
  return {name: jnp.asarray(arrays[name]) for name in names}


def _values(stored: StoredArray) -> np.ndarray:
  """The array in the very dtype that it was packed in."""
  if stored.values is None:
    raise ValueError('an array without values')
  return stored.values()


def _check_names(path: Path, stored: Mapping[str, Any], expected: Mapping[str, str]) -> None:
  again = 'download or copy the folder again'
  if lacking := expected.keys() - stored.keys():
    raise UserError(f'{path} lacks {listed(lacking)}, which {CONFIG} names: {again}.')
  if more := stored.keys() - expected.keys():
    raise UserError(f'{path} holds {listed(more)}, which {CONFIG} does not name: {again}.')


def _check_fits(
  path: Path, found: Packed, stored: Mapping[str, StoredArray], network: Network
) -> None:
  """Raises UserError unless the arrays are those of the network, before any is read."""
  for names, shapes in (
    (found.params, network.param_shapes),
    (found.batch_stats, network.batch_stat_shapes),
  ):
    for name in sorted(names.keys() | shapes.keys()):
      there = _shape_and_dtype(stored[name]) if name in names else 'absent'
      here = _shape_and_dtype(shapes[name]) if name in shapes else 'absent'
      if there != here:
        raise UserError(
          f'{path} is of another network than {CONFIG} says: {shown(name)} is {there} there and '
          f'{here} here; download or copy the folder again.'
        )


def _shape_and_dtype(array: Any) -> str:
  return f'{np.dtype(array.dtype).name} {tuple(array.shape)}'
