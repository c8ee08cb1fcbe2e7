"""Every setting with its default: what a config file may change, and where a typo is caught."""

from __future__ import annotations

import difflib
import importlib.util
import json
from pathlib import Path

import ml_collections
from ml_collections import config_dict

from pspnet_jax.card import with_tuples
from pspnet_jax.data.spec import IMAGENET_MEAN, IMAGENET_STD
from pspnet_jax.errors import UserError

SAVED_AS = 'config.json'  # in the workdir


def defaults() -> ml_collections.ConfigDict:
  """The paper's recipe (Zhao et al. 2017, section 4) for ADE20K-sized images."""
  c = ml_collections.ConfigDict()
  c.seed = 0
  c.batch_size = 16  # of all devices of all processes together
  c.total_steps = 150_000
  c.crop_size = (473, 473)  # height, width
  c.mean, c.std = IMAGENET_MEAN, IMAGENET_STD  # RGB, 0-255
  c.accumulation_steps = 1  # parts a batch is taken in, to save memory
  c.ema_decay = 0.0  # of the parameters' moving average; 0 keeps none
  c.log_every = 50  # steps, as all that follow
  c.eval_every = 5_000  # 0: only at the end
  c.checkpoint_every = 1_000
  c.pictures = 4  # validation images shown in TensorBoard
  c.threads = 0  # that load and augment; 0: as many as there are cores

  c.data = ml_collections.ConfigDict()  # arguments of the source; see data/sources.py
  c.data.name = 'folder'
  c.data.train = ml_collections.ConfigDict({'split': 'train'})  # what differs between the splits
  c.data.val = ml_collections.ConfigDict({'split': 'val'})

  c.augment = augment = ml_collections.ConfigDict()  # semseg's; see data/augment.py
  augment.scale = (0.5, 2.0)
  augment.rotate = (-10.0, 10.0)  # degrees
  augment.rotate_probability = augment.blur_probability = augment.flip_probability = 0.5

  c.model = model = ml_collections.ConfigDict()  # see models/pspnet.py
  model.depth = 50
  model.output_stride = 8
  model.stem_channels = (64, 64, 128)
  model.width = 64
  model.stride_in_1x1 = model.contract_dilation = False
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

  c.eval = evaluation = ml_collections.ConfigDict()  # see card.py
  evaluation.window = config_dict.placeholder(tuple)  # None: whole images
  evaluation.stride = 2 / 3  # of the window
  evaluation.flip = False
  evaluation.batch_size = 8  # windows at a time
  evaluation.absent_classes = 'exclude'  # or 'zero'; see metrics.py
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
  module_spec.loader.exec_module(module)
  if not hasattr(module, 'get_config'):
    raise UserError(f'{path} defines no get_config(): copy the form of configs/folder.py.')
  return complete(module.get_config(*([argument] if argument else [])), path)


def save(config: ml_collections.ConfigDict, path: Path) -> None:
  """Writes a config as JSON, for commands that are given only the workdir."""
  path.write_text(json.dumps(config.to_dict(), indent=2) + '\n')


def load_saved(path: Path) -> ml_collections.ConfigDict:
  """Reads what `save` wrote."""
  try:
    values = with_tuples(json.loads(path.read_text()))
  except (OSError, ValueError) as e:
    raise UserError(f'cannot read the config {path}: {e}; give --config=FILE.py.') from e
  return complete(ml_collections.ConfigDict(values), str(path))


def complete(
  changes: ml_collections.ConfigDict, where: str, _defaults: ml_collections.ConfigDict | None = None
) -> ml_collections.ConfigDict:
  """Defaults with `changes` laid over them; free keys only under `data`, whose source checks them.

  Raises:
    UserError: for a key that does not exist (with the nearest one) or a value of another type.
  """
  config = defaults() if _defaults is None else _defaults
  for key, value in changes.items():
    check_key(config, key, where)
    if isinstance(config[key], ml_collections.ConfigDict):
      if key == 'data':
        config.data.update(value)
      else:
        complete(value, f'{where}: {key}', config[key])
      continue
    try:
      config[key] = tuple(value) if isinstance(value, list) else value
    except TypeError as e:
      kind = type(config[key]).__name__
      raise UserError(f'{where} sets {key} to {value!r}: give a {kind}.') from e
  return config


def check_key(config: ml_collections.ConfigDict, key: str, where: str) -> None:
  """Raises UserError, with the nearest key, unless `config` has `key`."""
  if key not in config:
    near = difflib.get_close_matches(key, config.keys(), n=1, cutoff=0.5)
    hint = f'did you mean {near[0]}?' if near else f'it knows {", ".join(sorted(config.keys()))}.'
    raise UserError(f'{where} sets the unknown config key {key!r}: {hint}')
