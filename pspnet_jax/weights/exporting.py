"""Writes our networks as state dicts of other implementations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pspnet_jax.errors import UserError
from pspnet_jax.inference.card import PSPNET, Card
from pspnet_jax.models.resnet import DEPTHS
from pspnet_jax.runtime.files import whole_file
from pspnet_jax.weights import written_card
from pspnet_jax.weights.foreign import mmseg, semseg
from pspnet_jax.weights.foreign.name_table import NamedArrays
from pspnet_jax.weights.foreign.origin import CONVENTIONS
from pspnet_jax.weights.foreign.recognise import stem_length

FORMATS = ('semseg', 'mmseg')


def check_is_pspnet(card: Card) -> None:
  """Raises UserError for any other network: no other implementation has names for its arrays."""
  if (name := card.network.get('name', PSPNET)) != PSPNET:
    raise UserError(
      f'the network is {name} (config.model.name), and {" and ".join(FORMATS)} know PSPNets only: '
      'load it in Python with pspnet_jax.load(WORKDIR, model=...).'
    )


def check_fits(card: Card, format_name: str) -> None:
  """Raises UserError for a network that would be another one there.

  Refused is what that implementation has no setting for and would load all the same, or has no
  names for. What it has a setting for is left to `conventions`; what it refuses by itself, such as
  another width, to it.
  """
  check_is_pspnet(card)
  if format_name not in FORMATS:
    raise UserError(f'--format={format_name} is none of {", ".join(FORMATS)}: change it.')
  option = written_card.options_of(card)
  bottleneck, _ = DEPTHS[option['depth']]
  nowhere = {
    'pooling': option['pooling'] != 'avg',
    'bins': not option['bins'],
    'reduce_dimension': not option['reduce_dimension'],
    'dilate_conv2': option['dilate_conv2'] and not bottleneck,
  }
  for name, refused in nowhere.items():
    if refused:
      raise UserError(
        f'the network has {name}={option[name]} (config.model.{name}), which neither semseg nor '
        'mmsegmentation has: load it in Python with pspnet_jax.load(WORKDIR).'
      )
  if format_name == 'semseg':
    others = {
      'stem_channels': len(option['stem_channels']) == 1,  # 7×7
      'align_corners': not option['align_corners'],
      'output_stride': option['output_stride'] != 8,
      'dilations': option['dilations'] not in (None, (1, 1, 2, 4)),
      'contract_dilation': option['contract_dilation'],
      'stride_in_1x1': option['stride_in_1x1'] and bottleneck,
      'avg_down': option['avg_down'],
    }
    for name, refused in others.items():
      if refused:
        raise UserError(
          f'the network has {name}={option[name]}, for which semseg has no setting, and would load '
          'as another one there: write it with --format=mmseg.'
        )


def state_dict(
  arrays: Mapping[str, Any], format_name: str, *, avg_down: bool = False
) -> NamedArrays:
  """Parameters and batch statistics by the names and in the layout of `format_name`.

  Args:
    arrays: by our names.
    format_name: one of FORMATS.
    avg_down: whether the shortcuts pool; no array tells it, and some names depend on it.

  Raises:
    UserError: if that implementation has no such network.
  """
  arrays = {name: np.asarray(array) for name, array in arrays.items()}
  seven_by_seven = stem_length(arrays) == 1
  if format_name == 'semseg' and seven_by_seven:
    raise UserError('semseg has no network with a 7×7 stem: write it with --format=mmseg.')
  if format_name == 'semseg':
    return semseg.TABLE.to_theirs(arrays)
  return mmseg.TABLES[not seven_by_seven, avg_down].to_theirs(arrays)


def write(tensors: NamedArrays, path: Path, format_name: str, card: Card) -> None:
  """Writes a state dict as that implementation saves it, with torch, and the card beside it.

  Raises:
    UserError: if torch is not installed or the file cannot be written.
  """
  try:
    import torch
  except ImportError as e:
    raise UserError(
      f"writing {path} needs PyTorch: pip install 'pspnet_jax[convert]' (its CPU build will do)."
    ) from e
  content: dict[str, Any] = {
    'state_dict': {k: torch.from_numpy(x.copy()) for k, x in tensors.items()},
    written_card.KEY: written_card.text_of(card),
  }
  if format_name == 'semseg':  # which wraps the network in DataParallel
    content['state_dict'] = {f'module.{k}': x for k, x in content['state_dict'].items()}
  else:
    palette = [list(colour) for colour in card.spec.palette]
    content['meta'] = {'CLASSES': card.spec.class_names, 'PALETTE': palette}
  with whole_file(path) as file:
    try:
      torch.save(content, file)
    except RuntimeError as e:  # torch's writer hides what the operating system says
      if isinstance(e.__context__, OSError):
        raise e.__context__ from None
      raise


def conventions(card: Card) -> str:
  """Says what must be set where the file is loaded: names and shapes do not tell it."""
  option = written_card.options_of(card)
  names = (*CONVENTIONS, 'dropout_rate', 'dropout_kind')
  known = [f'{name}={option[name]}' for name in names if option[name] is not None]
  return (
    f'{", ".join(known)}; RGB mean {card.mean}, std {card.std}; classes, crop {card.crop_size} and '
    'how to resize (pspnet convert finds all of it beside the arrays).'
  )
