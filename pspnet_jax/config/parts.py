"""From groups of a config to the objects they describe: nothing below here opens a config."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import ml_collections
import numpy as np
import optax

from pspnet_jax.config import checks, named
from pspnet_jax.config.defaults import chosen
from pspnet_jax.config.signatures import defaults_of
from pspnet_jax.data.augment import Augment
from pspnet_jax.data.identity import identity
from pspnet_jax.data.loader import Transform
from pspnet_jax.data.one_class import refuse_one_class
from pspnet_jax.data.prepared import shared
from pspnet_jax.data.rare_classes import RareClasses, count_class_pixels
from pspnet_jax.data.sources import open_source
from pspnet_jax.data.spec import DatasetSpec, Exif, Source
from pspnet_jax.data.transform_first import TransformFirst
from pspnet_jax.errors import UserError
from pspnet_jax.inference.card import PSPNET, Card
from pspnet_jax.inference.engine import Inference
from pspnet_jax.inference.protocol import PLAIN
from pspnet_jax.models.network import Network
from pspnet_jax.reporting.reporter import Reporter
from pspnet_jax.runtime import parallel, paths
from pspnet_jax.runtime.kept_arrays import keep_arrays, kept_arrays
from pspnet_jax.training import optim
from pspnet_jax.training.callbacks import Callback, EarlyStopping
from pspnet_jax.training.step import Step, make_train_step


def open_split(config: ml_collections.ConfigDict, split: str, *, lenient: bool = False) -> Source:
  """The data source of 'train' or 'val': config.data with config.data.train or .val laid over.

  Args:
    config: names the source and its options.
    split: 'train' or 'val'.
    lenient: opens what can be read of a source that would refuse some of its files.
  """
  options = {key: _expanded(value) for key, value in _options_of(config, split).items()}
  name = options.pop('name')
  own = named.find_callable(name, 'config.data.name') if named.is_own(name) else None
  source = open_source(name, **options, lenient=lenient, own=own)
  if not len(source) and not lenient:
    raise UserError(f'the {split} split of the data has no images: check config.data.')
  if not lenient:
    refuse_one_class(source, split, threads=config.threads or None)
  return source


def seen_in_training(
  trained: ml_collections.ConfigDict, evaluated: ml_collections.ConfigDict
) -> str | None:
  """Says that images of the val split of a config were trained on; None if that is not known.

  Args:
    trained: the config of the run.
    evaluated: the config that says which data are evaluated; `trained` itself, as a rule.
  """
  train, val = (_options_of(c, s) for c, s in ((trained, 'train'), (evaluated, 'val')))
  pairs = [(str(options.get('name')), str(options.get('split'))) for options in (train, val)]
  if not (both := shared(*pairs)):
    return None
  return (
    f'Images of {" and ".join(both)} are both trained on and evaluated: their scores tell nothing '
    'of other images.'
  )


def _options_of(config: ml_collections.ConfigDict, split: str) -> dict[str, Any]:
  """What config.data says of a split, but for what is not set."""
  options = config.data.to_dict()
  of_split = {'train': options.pop('train'), 'val': options.pop('val')}[split]
  given = (*options.items(), *of_split.items())
  return {key: value for key, value in given if value is not None}


def _expanded(value: Any) -> Any:
  """An option of a source; one that begins with ~ is a path in a home folder."""
  return str(paths.given(value)) if isinstance(value, str) and value.startswith('~') else value


def make_augment(config: ml_collections.ConfigDict) -> Augment:
  """The training augmentation; refuses a crop that is smaller than one output cell."""
  crop_size, output_stride = tuple(config.crop_size), config.model.get('output_stride', 1)
  if len(crop_size) != 2 or min(crop_size) < output_stride:
    raise UserError(
      f'crop_size {crop_size} is smaller than one output cell of {output_stride}×{output_stride} '
      f'pixels: make both sides at least {output_stride}.'
    )
  options = config.augment.to_dict()
  del options['transform']
  return Augment(crop_size=crop_size, mean=config.mean, **options)


def make_transform(config: ml_collections.ConfigDict, num_classes: int) -> Transform:
  """What makes a training example: the augmentation, after the user's own transform if any."""
  augment, name = make_augment(config), config.augment.transform
  if name is None:
    return augment
  return TransformFirst(named.find_callable(name, 'config.augment.transform'), augment, num_classes)


def make_choice(
  config: ml_collections.ConfigDict, source: Source, workdir: Path
) -> RareClasses | None:
  """What draws the training examples; None: shuffled epochs.

  Rare classes need the pixels of every class in every label. They are counted once, each process
  its share; where one trains alone, they are kept in the workdir until the labels change.
  """
  options, count = config.sampling, len(source)
  if not options.rare_class_temperature:
    return None
  path, alone = workdir / 'class_pixels.npz', jax.process_count() == 1
  skip_bad = config.data_errors == 'skip'
  question: dict[str, Any] = {}
  if alone:
    made_of = {'data': config.data.to_dict(), 'source': identity(source), 'skip_bad': skip_bad}
    question = {'classes': source.spec.num_classes, **made_of}
    kept = kept_arrays(path, question)
    if kept is not None:
      return RareClasses(kept['pixels'], options.rare_class_temperature, options.rare_class_pixels)
  pixels = np.zeros((count, source.spec.num_classes), np.int64)
  share = range(jax.process_index(), count, jax.process_count())
  rows = count_class_pixels(source, share, threads=config.threads or None, skip_bad=skip_bad)
  with Reporter(None, total_steps=len(share), primary=jax.process_index() == 0) as report:
    report.say(f'Counting the classes of {count:,} labels for rare class sampling.')
    for done, (index, row) in enumerate(zip(share, rows, strict=True), 1):
      pixels[index] = row
      report.advance(done)
  pixels = parallel.sum_over_processes(pixels)
  if alone:
    keep_arrays(path, question, {'pixels': pixels})
  return RareClasses(pixels, options.rare_class_temperature, options.rare_class_pixels)


def make_card(
  config: ml_collections.ConfigDict, spec: DatasetSpec, *, exif: Exif = 'upright'
) -> Card:
  """What will travel with the weights; `exif` is how the images are held."""
  options = config.model.to_dict()
  for of_training_only in ('fixed_batch_stats', 'ghost_batch_size'):
    del options[of_training_only]
  if options['name'] == PSPNET:
    del options['name']
  else:
    # A class may give its base class what it does not want to be asked for: of what it only hands
    # on, it gets what was changed. Its own arguments are kept, whatever their defaults will be.
    model = chosen('model', options['name'])
    known = defaults_of(model)
    kept = {'name', 'dtype', *inspect.signature(model.__init__).parameters}
    options = {k: v for k, v in options.items() if k in kept or v != known.get(k)}
  return Card(
    network={'num_classes': spec.num_classes, **options},
    spec=spec,
    crop_size=config.crop_size,
    protocol=PLAIN.changed(**checks.protocol_changes(config.eval)),
    mean=config.mean,
    std=config.std,
    exif=exif,
  )


def make_network(config: ml_collections.ConfigDict, card: Card) -> Network:
  """The network to train; refuses one that cannot be trained on batches of this size."""
  model: Any = chosen('model', config.model.name)
  network = card.build_network(
    model,
    fixed_batch_stats=config.model.fixed_batch_stats,
    ghost_batch_size=config.model.ghost_batch_size,
  )
  # Statistics are those of a part of the batch, on all devices together.
  network.check_outputs(config.crop_size, max(config.batch_size // config.accumulation_steps, 1))
  return network


def make_inference(config: ml_collections.ConfigDict, network: Network, card: Card) -> Inference:
  """What evaluates a network, by the protocol of its card."""
  return Inference(
    network,
    card,
    batch_size=config.eval.batch_size,
    canvas_mb=config.eval.canvas_mb,
    split_height=config.eval.split_height,
    deterministic=config.deterministic,
  )


def make_optimizer(
  config: ml_collections.ConfigDict, params: Mapping[str, Any]
) -> tuple[optax.Schedule, optax.GradientTransformation]:
  """Learning rate by step, and the optimiser that follows it; `params` gives the names."""
  options = config.optimizer.to_dict()
  name = options.pop('name')
  of_schedule = inspect.signature(optim.learning_rate).parameters.keys() & options.keys()
  schedule = optim.learning_rate(
    total_steps=config.total_steps, **{key: options.pop(key) for key in of_schedule}
  )
  tx = _made('optimizer', name, params, schedule, **options)
  if not isinstance(tx, optax.GradientTransformation):
    raise UserError(
      f'config.optimizer.name={name} makes a {type(tx).__name__}: give a function of (params, '
      'schedule) that returns an optax transformation.'
    )
  return schedule, tx


def make_step(
  config: ml_collections.ConfigDict, network: Network, tx: optax.GradientTransformation
) -> Step:
  """The training step."""
  options = config.loss.to_dict()
  name = options.pop('name')
  loss = _made('loss', name, **options)
  if not callable(loss) or not hasattr(loss, 'denominators'):
    raise UserError(
      f'config.loss.name={name} makes a {type(loss).__name__}, which is no loss: give it the two '
      'methods of training.losses.Loss.'
    )
  names = ('seed', 'mean', 'std', 'aux_weight', 'accumulation_steps', 'ema_decay')
  return make_train_step(network, tx, loss=loss, **{name: config[name] for name in names})


def make_callbacks(config: ml_collections.ConfigDict) -> list[Callback]:
  """Early stopping, if it is asked for, and callbacks of one's own."""
  callbacks = []
  for name in config.callbacks:
    make = named.find_callable(name, 'config.callbacks')
    if not (isinstance(make, type) and issubclass(make, Callback)):
      raise UserError(f'config.callbacks={name} is {make!r}: name a class derived from Callback.')
    _check_call(make, f'config.callbacks={name}')
    callbacks.append(make())
  return ([EarlyStopping(config.early_stopping)] if config.early_stopping else []) + callbacks


def _made(group: str, name: str, *arguments: Any, **options: Any) -> Any:
  """What `config.GROUP.name` stands for, called."""
  make = chosen(group, name)
  _check_call(make, f'config.{group}.name={name}', *arguments, **options)
  return make(*arguments, **options)


def _check_call(make: Callable[..., Any], key: str, *arguments: Any, **options: Any) -> None:
  try:
    inspect.signature(make).bind(*arguments, **options)
  except TypeError as e:
    given = ', '.join(options) or 'nothing'
    given = f'(params, schedule) and {given}' if arguments else given
    raise UserError(f'{key} is called with {given}: {e}.') from e
