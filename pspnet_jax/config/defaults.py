"""Every setting with its default."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

import ml_collections
from ml_collections import config_dict

from pspnet_jax.config import named
from pspnet_jax.config.signatures import defaults_of, parameters_of
from pspnet_jax.data.augment import Augment
from pspnet_jax.data.sources import SOURCES
from pspnet_jax.data.spec import IMAGENET_MEAN, IMAGENET_STD
from pspnet_jax.errors import UserError
from pspnet_jax.models.network import Network
from pspnet_jax.models.pspnet import PSPNet
from pspnet_jax.training import optim
from pspnet_jax.training.losses import SegmentationLoss

# What a group's `name` may be beside package.module:Name of one's own; the first is the default.
# The group's other keys are arguments of what it names.
CHOICES: dict[str, dict[str, Callable[..., Any]]] = {
  'data': {'folder': SOURCES['folder'], **SOURCES},
  'model': {'pspnet': PSPNet},
  'optimizer': {'sgd': optim.sgd, 'adamw': optim.adamw},
  'loss': {'segmentation': SegmentationLoss},
}


def chosen(group: str, name: str) -> Callable[..., Any]:
  """What `config.GROUP.name` stands for.

  Raises:
    UserError: if there is no such thing.
  """
  if name in CHOICES[group]:
    return CHOICES[group][name]
  key = f'config.{group}.name'
  if not named.is_own(name):
    known = ', '.join(CHOICES[group])
    raise UserError(f'{key} is {name!r}: give {known}, or package.module:Name of your own.')
  return named.find_network(name, key) if group == 'model' else named.find_callable(name, key)


def defaults(names: Mapping[str, str] | None = None) -> ml_collections.ConfigDict:
  """The paper's recipe (Zhao et al. 2017, section 4) for ADE20K-sized images.

  Args:
    names: for each group of `CHOICES` that has another name than its default.
  """
  names = {group: next(iter(known)) for group, known in CHOICES.items()} | dict(names or {})
  c = ml_collections.ConfigDict()
  c.seed = 0
  c.deterministic = False  # on GPUs: asks for the same bits in every start, which costs speed
  # Weights to start from: a workdir, converted or not, a file, or the name of published weights;
  # a checkpoint in the run's own workdir goes first.
  c.init_from = config_dict.placeholder(str)
  c.batch_size = 16  # of all devices of all processes together
  c.total_steps = 150_000
  c.crop_size = (473, 473)  # height, width
  c.mean, c.std = IMAGENET_MEAN, IMAGENET_STD  # RGB, 0-255
  # Parts a batch is taken in, to save memory: batch statistics are those of batch_size /
  # accumulation_steps images, or of model.ghost_batch_size.
  c.accumulation_steps = 1
  # The decay of the parameters' moving average, warmed up; 0 keeps none. Evaluation and prediction
  # use the average (but for --noema), with the batch statistics of the parameters themselves,
  # which are an average already.
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
  c.early_stopping = 0  # steps without a better score after which training ends; 0: never
  c.callbacks = ()  # package.module:Class of one's own; see training/callbacks.py

  c.data = _group('data', names, without=('split',), needed=True)
  for split in ('train', 'val'):  # what differs between the splits; not set: as above
    options = {key: config_dict.placeholder(c.data.get_type(key)) for key in c.data}
    del options['name']
    c.data[split] = ml_collections.ConfigDict({'split': split, **options})

  # The keys of the groups that follow are arguments of what is named, and their defaults stand in
  # its signature: `pspnet train --settings` lists them all.
  c.augment = defaults_of(Augment, without=('crop_size', 'mean', 'transform'))
  c.augment.transform = config_dict.placeholder(str)  # package.module:function of one's own
  c.model = _group('model', names, Network, without=('num_classes', 'model', 'rngs'))
  c.optimizer = _group('optimizer', names, optim.learning_rate)
  c.optimizer.base_lr = 0.01
  c.aux_weight = 0.4
  c.loss = _group('loss', names)

  c.eval = evaluation = ml_collections.ConfigDict()
  evaluation.protocol = 'plain'  # or semseg, caffe, mmseg, mmseg_slide; see protocol.py
  # What differs from the protocol; None: nothing.
  evaluation.base_size = config_dict.placeholder(tuple)  # (512,), or (2048, 1024) for mmseg's
  evaluation.scales = config_dict.placeholder(tuple)
  evaluation.window = config_dict.placeholder(tuple)  # height, width
  evaluation.whole_images = False  # no windows: compiles for every size of image
  evaluation.stride = config_dict.placeholder(float)  # of the window
  evaluation.blend = config_dict.placeholder(bool)  # windows weigh less towards their borders
  evaluation.flip = config_dict.placeholder(bool)
  evaluation.padding = config_dict.placeholder(str)  # 'centre', 'end' or 'none'
  evaluation.absent_classes = config_dict.placeholder(str)  # 'exclude' or 'zero'; see metrics.py
  evaluation.batch_size = 0  # windows at a time; 0: what suits the device
  # Devices share the rows of whole images, which are too large for one; else each takes images.
  evaluation.split_height = False
  evaluation.canvas_mb = 1024  # of an image's scores on the device; larger images: in tiles
  return c


def _group(
  group: str,
  names: Mapping[str, str],
  *beside: Callable[..., Any],
  without: tuple[str, ...] = (),
  needed: bool = False,
) -> ml_collections.ConfigDict:
  """The keys of a group: its name, the arguments of what is named, and those of `beside`."""
  name = names[group]
  config = ml_collections.ConfigDict({'name': name})
  if name.startswith(named.NOT_NAMED):  # nothing is known of it
    return config
  configured, without = chosen(group, name), (*without, 'name')
  if named.is_own(name) and not needed:
    _check_defaults(group, name, configured, known={*without, *defaults_of(*beside)})
  # What is beside comes first: the compute dtype is a name in a config, not a NumPy dtype.
  config.update(defaults_of(*beside, configured, without=without, needed=needed))
  return config


def _check_defaults(
  group: str, name: str, configured: Callable[..., Any], known: Collection[str]
) -> None:
  """Refuses an argument that no config could give: the keys are those that have a default."""
  parameters = list(parameters_of(configured).values())
  if group == 'optimizer':
    del parameters[:2]  # the parameters and the schedule
  for parameter in parameters:
    if parameter.default is inspect.Parameter.empty and parameter.name not in known:
      raise UserError(
        f'config.{group}.name={name} needs {parameter.name}, which has no default: it is called '
        f'with the keys of config.{group}, and those are the arguments with one, so give it one.'
      )
