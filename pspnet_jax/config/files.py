"""Every setting with its default: what a config file may change, and where a typo is caught."""

from __future__ import annotations

import difflib
import importlib.util
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_collections
from ml_collections import config_dict

from pspnet_jax.data.spec import IMAGENET_MEAN, IMAGENET_STD
from pspnet_jax.errors import UserError
from pspnet_jax.inference.card import with_tuples
from pspnet_jax.inference.protocol import PLAIN

SAVED_AS = 'config.json'  # in the workdir
PROTOCOL_KEYS = (  # of config.eval
  *('protocol', 'base_size', 'scales', 'window', 'whole_images', 'stride', 'flip'),
  'absent_classes',
)


def defaults() -> ml_collections.ConfigDict:
  """The paper's recipe (Zhao et al. 2017, section 4) for ADE20K-sized images."""
  c = ml_collections.ConfigDict()
  c.seed = 0
  # Weights to start from: a workdir, converted or not, a file, or the name of published weights;
  # a checkpoint in the run's own workdir goes first.
  c.init_from = config_dict.placeholder(str)
  c.batch_size = 16  # of all devices of all processes together
  c.total_steps = 150_000
  c.crop_size = (473, 473)  # height, width
  c.mean, c.std = IMAGENET_MEAN, IMAGENET_STD  # RGB, 0-255
  c.accumulation_steps = 1  # parts a batch is taken in, to save memory
  # Of the parameters' moving average; 0 keeps none. It is what is evaluated and predicted with,
  # beside the batch statistics of the parameters themselves, which are an average already.
  c.ema_decay = 0.0
  c.log_every = 50  # steps, as all that follow
  c.eval_every = 5_000  # 0: only at the end
  c.checkpoint_every = 1_000
  c.pictures = 4  # validation images shown in TensorBoard
  c.sampling = sampling = ml_collections.ConfigDict()  # see data/rare_classes.py
  sampling.rare_class_temperature = 0.0  # 0: off, every image once an epoch; DAFormer has 0.01
  sampling.rare_class_pixels = 3000  # of a class, from which on an image counts as one of it
  c.data_errors = 'raise'  # or 'skip': another example in place of one that cannot be used
  c.threads = 0  # that load and augment; 0: as many as there are cores

  c.data = ml_collections.ConfigDict()  # arguments of the source; see data/sources.py
  c.data.name = 'folder'
  c.data.train = ml_collections.ConfigDict({'split': 'train'})  # what differs between the splits
  c.data.val = ml_collections.ConfigDict({'split': 'val'})

  c.augment = augment = ml_collections.ConfigDict()  # semseg's; see data/augment.py
  augment.scale = (0.5, 2.0)
  augment.rotate = (-10.0, 10.0)  # degrees
  augment.rotate_probability = augment.blur_probability = augment.flip_probability = 0.5
  augment.base_size = config_dict.placeholder(tuple)  # mmseg's from here on: (2048, 512)
  augment.cat_max_ratio = 1.0  # 0.75
  augment.photometric = False  # True
  augment.pad_centred = True  # False

  c.model = model = ml_collections.ConfigDict()  # see models/pspnet.py
  model.depth = 50
  model.output_stride = 8
  model.dilations = config_dict.placeholder(tuple)  # of the stages; None: from output_stride
  model.stem_channels = (64, 64, 128)
  model.width = 64
  model.stride_in_1x1 = model.contract_dilation = model.dilate_conv2 = False
  model.remat = False  # less memory, a third more time: see models/resnet.py
  model.bins = (1, 2, 3, 6)
  model.pooling = 'avg'
  model.reduce_dimension = True
  model.pyramid_channels = config_dict.placeholder(int)
  model.head_channels = 512
  model.aux_head, model.aux_channels = True, 256
  model.dropout_rate, model.dropout_kind = 0.1, 'channel'
  model.align_corners = True
  model.dtype = 'float32'

  c.optimizer = optimizer = ml_collections.ConfigDict()  # see optim.py
  optimizer.base_lr, optimizer.power, optimizer.min_lr = 0.01, 0.9, 0.0
  optimizer.momentum, optimizer.weight_decay = 0.9, 1e-4
  optimizer.head_multiplier = 10.0
  optimizer.head_bias_multiplier = config_dict.placeholder(float)
  optimizer.decay_norm = optimizer.decay_bias = True

  c.aux_weight = 0.4
  c.loss = loss = ml_collections.ConfigDict()  # see losses.py
  loss.class_weights = ()  # one for each class; the data doctor suggests some
  loss.ohem_min_kept = 0  # online hard example mining: at least so many pixels an image; 0: off
  loss.ohem_threshold = 0.7  # and all whose class is given a lower probability
  loss.chunk_rows = 0  # rows of logits at a time, to save memory; 0: all of them

  c.eval = evaluation = ml_collections.ConfigDict()
  evaluation.protocol = 'plain'  # or semseg, caffe, mmseg, mmseg_slide; see protocol.py
  # What differs from the protocol; None: nothing.
  evaluation.base_size = config_dict.placeholder(tuple)  # (512,), or (2048, 1024) for mmseg's
  evaluation.scales = config_dict.placeholder(tuple)
  evaluation.window = config_dict.placeholder(tuple)  # height, width
  evaluation.whole_images = False  # no windows: compiles for every size of image
  evaluation.stride = config_dict.placeholder(float)  # of the window
  evaluation.flip = config_dict.placeholder(bool)
  evaluation.absent_classes = config_dict.placeholder(str)  # 'exclude' or 'zero'; see metrics.py
  evaluation.batch_size = 0  # windows at a time; 0: what suits the device
  evaluation.canvas_mb = 1024  # of an image's scores on the device; larger images: in tiles
  return c


def load(path: str) -> ml_collections.ConfigDict:
  """Reads `FILE.py` or `FILE.py:ARGUMENT` by calling its get_config; completes it with defaults.

  Raises:
    UserError: if there is no such file, it has no get_config, or it sets what does not exist.
  """
  path, _, argument = path.partition(':')
  if not Path(path).is_file():
    raise UserError(
      f'there is no config file {path}: give --config=FILE.py, such as those in configs/.'
    )
  module_spec = importlib.util.spec_from_file_location('config', path)
  if module_spec is None or module_spec.loader is None:
    raise UserError(f'{path} is not a Python file: give --config=FILE.py.')
  module = importlib.util.module_from_spec(module_spec)
  try:
    module_spec.loader.exec_module(module)
    changes = module.get_config(*([argument] if argument else []))
  except Exception as e:  # the file is the user's code: whatever it raises, they can mend
    raise UserError(f'{path} does not give a config: {type(e).__name__}: {e}.') from e
  if not isinstance(changes, ml_collections.ConfigDict):
    raise UserError(f'get_config() of {path} returns {changes!r}: return a ConfigDict.')
  return complete(changes, path)


def save(config: ml_collections.ConfigDict, path: Path) -> None:
  """Writes a config as JSON, in one go, for commands that are given only the workdir."""
  part = path.with_suffix('.tmp')
  part.write_text(json.dumps(config.to_dict(), indent=2) + '\n')
  part.replace(path)


def load_saved(path: Path) -> ml_collections.ConfigDict:
  """Reads what `save` wrote. Keys that have gone since then are left out.

  Raises:
    UserError: if it cannot be read.
  """
  try:
    values = with_tuples(json.loads(path.read_text()))
    saved = ml_collections.ConfigDict(_with_placeholders(values))
  except (OSError, ValueError, TypeError, AttributeError) as e:
    raise UserError(f'cannot read the config {path} ({e}): give --config=FILE.py.') from e
  known = defaults()
  for key in set(saved) - set(known):
    del saved[key]
  for key, value in known.items():
    if key != 'data' and key in saved and isinstance(value, ml_collections.ConfigDict):
      for name in set(saved[key]) - set(value):
        del saved[key][name]
  return complete(saved, str(path))


def _with_placeholders(values: dict[str, Any]) -> dict[str, Any]:
  """None as a field that a flag may still set: in JSON its type is lost."""
  return {
    key: _with_placeholders(value)
    if isinstance(value, dict)
    else (config_dict.placeholder(object) if value is None else value)
    for key, value in values.items()
  }


def complete(changes: ml_collections.ConfigDict, where: str) -> ml_collections.ConfigDict:
  """Defaults with `changes` laid over them; free keys only under `data`, whose source checks them.

  Raises:
    UserError: for a key that does not exist (with the nearest one) or a value of another type.
  """
  config = defaults()
  for split in ('train', 'val'):
    if not isinstance(changes.get('data', {}).get(split, {}), ml_collections.ConfigDict | dict):
      raise UserError(f'{where} sets data.{split} to a value: give a dictionary such as split=.')
  _lay_over(config, changes, where)
  return config


def _lay_over(
  config: ml_collections.ConfigDict, changes: ml_collections.ConfigDict, where: str
) -> None:
  for key, value in changes.items():
    check_key(config, key, where)
    old = config[key]
    if isinstance(old, ml_collections.ConfigDict):
      if not isinstance(value, ml_collections.ConfigDict):
        raise UserError(f'{where} sets {key} to {value!r}: give a dictionary of its keys.')
      if key == 'data':
        old.update(value)
      else:
        _lay_over(old, value, f'{where}: {key}')
      continue
    try:
      config[key] = tuple(value) if isinstance(value, list) else value
    except TypeError as e:
      kind = config.get_type(key).__name__
      raise UserError(f'{where} sets {key} to {value!r}: give a {kind}.') from e


def check_key(config: ml_collections.ConfigDict, key: str, where: str) -> None:
  """Raises UserError, with the nearest key, unless `config` has `key`."""
  if key not in config:
    near = difflib.get_close_matches(key, config.keys(), n=1, cutoff=0.5)
    hint = f'did you mean {near[0]}?' if near else f'it knows {", ".join(sorted(config.keys()))}.'
    raise UserError(f'{where} sets the unknown config key {key!r}: {hint}')


def protocol_changes(given: Mapping[str, Any]) -> dict[str, Any]:
  """What `given`, keys of config.eval, says of the protocol: arguments of `Protocol.changed`."""
  changes = {key: given[key] for key in PROTOCOL_KEYS if given.get(key) is not None}
  if changes.pop('whole_images', False):
    changes['window'] = 'image'
  return changes


def check_values(config: ml_collections.ConfigDict) -> None:
  """Raises UserError for a value that would only fail later, or never and do harm."""
  c = config

  def need(condition: bool, key: str, value: object, remedy: str) -> None:
    if not condition:
      raise UserError(f'config.{key} is {value!r}: {remedy}.')

  for key in ('batch_size', 'total_steps', 'accumulation_steps', 'log_every'):
    need(c[key] >= 1, key, c[key], 'make it at least 1')
  for key in ('eval_every', 'checkpoint_every', 'threads', 'pictures', 'seed', 'aux_weight'):
    need(c[key] >= 0, key, c[key], 'make it 0 or more')
  need(0 <= c.ema_decay < 1, 'ema_decay', c.ema_decay, 'give a number in [0, 1)')
  need(c.optimizer.base_lr > 0, 'optimizer.base_lr', c.optimizer.base_lr, 'make it positive')
  need(c.eval.batch_size >= 0, 'eval.batch_size', c.eval.batch_size, 'make it 0 or more')
  need(c.eval.canvas_mb >= 1, 'eval.canvas_mb', c.eval.canvas_mb, 'make it at least 1')
  need(c.data_errors in ('raise', 'skip'), 'data_errors', c.data_errors, "give 'raise' or 'skip'")
  weights = c.loss.class_weights
  sound = _numbers(weights, len(weights)) and all(0 <= x < math.inf for x in weights)
  remedy = 'give a number of 0 or more for each class, not 0 for all'
  need(sound and (not weights or any(weights)), 'loss.class_weights', weights, remedy)
  for key in ('ohem_min_kept', 'chunk_rows'):
    need(c.loss[key] >= 0, f'loss.{key}', c.loss[key], 'make it 0 or more')
  for key, value in c.sampling.items():
    need(0 <= value < math.inf, f'sampling.{key}', value, 'make it 0 or more')
  threshold = c.loss.ohem_threshold
  need(0 <= threshold <= 1, 'loss.ohem_threshold', threshold, 'give a number in [0, 1]')
  for key in ('mean', 'std'):
    need(_numbers(c[key], 3), key, c[key], 'give three numbers, for red, green and blue')
  need(min(c.std) > 0, 'std', c.std, 'make all three positive')
  need(_integers(c.crop_size, 2), 'crop_size', c.crop_size, 'give height and width, as 473,473')
  PLAIN.changed(**protocol_changes(c.eval))  # checks its fields itself
  for key in ('bins', 'stem_channels', 'dilations'):
    value = c.model[key]
    need(
      (key == 'dilations' and value is None) or _integers(value),
      f'model.{key}',
      value,
      'give whole numbers, as 1,2,3,6',
    )


def _numbers(values: object, length: int) -> bool:
  return (
    isinstance(values, tuple)
    and len(values) == length
    and all(isinstance(x, int | float) for x in values)
  )


def _integers(values: object, length: int | None = None) -> bool:
  return (
    isinstance(values, tuple)
    and length in (None, len(values))
    and all(isinstance(x, int) for x in values)
  )
