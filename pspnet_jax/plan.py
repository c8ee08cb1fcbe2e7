"""Says what training would take on a GPU or TPU that need not be there.

  pspnet plan --config=ade20k_pspnet50 --topology=h100

Compiles the training step for that device and reads the program: the memory it needs, the largest
batch that fits, what saves memory, and the most images a second that the device's matrix unit and
memory allow. That is a bound, which no run exceeds, and not a promise of how near it comes. Of
several devices, as h100:8, it goes on to 64 and 512 with as many images on each.
"""

from __future__ import annotations

from absl import flags

from pspnet_jax import cli

FLAGS = flags.FLAGS


def define_flags() -> None:
  """Defines the command's flags; see `cli`."""
  cli.takes_config()
  flags.DEFINE_string('topology', None, 'h100, h100:8, a100, v5e:2x2, v5p:2x2x1 ...', required=True)
  flags.DEFINE_integer('num_classes', None, 'Where the data are not here to tell.')
  flags.DEFINE_bool('largest', True, 'Looks for the largest batch: compiles a few times more.')
  flags.DEFINE_bool('ways', True, 'Compiles what saves memory or messages, too.')
  flags.DEFINE_float('step_ms', None, 'What a step took on one device alone, if you have run it.')


if __name__ == '__main__':  # ahead of the imports: --help does not wait for JAX
  cli.start('plan', __doc__, define_flags)

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import ml_collections

from pspnet_jax.config import checks, parts
from pspnet_jax.config.savings import changed, ways_to_save
from pspnet_jax.data.palettes import default_palette
from pspnet_jax.data.prepared import SPECS
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.errors import UserError
from pspnet_jax.planning import devices, programs, scaling
from pspnet_jax.planning.feeding import core_seconds
from pspnet_jax.planning.fitting import largest_batch
from pspnet_jax.reporting.console import Cell, format_duration
from pspnet_jax.reporting.reporter import Reporter
from pspnet_jax.runtime import parallel

COLUMNS = ('', 'GB a device', 'fits', 'GB moved', 'TFLOP', 'least ms', 'images/s at most')


def plan(
  config: ml_collections.ConfigDict,
  topology_name: str,
  *,
  num_classes: int | None = None,
  largest: bool = True,
  ways: bool = True,
  step_ms: float | None = None,
) -> None:
  """Prints what training by `config` takes on a topology.

  Args:
    config: of the training.
    topology_name: see `devices.open_topology`.
    num_classes: where they are not to be told from the data.
    largest: looks for the largest batch that fits.
    ways: compiles the ways to save memory or messages, too.
    step_ms: what a step takes on one device with its share of the batch; the least without.

  Raises:
    UserError: for whatever the user can mend.
  """
  if step_ms is not None and not 0 < step_ms < math.inf:
    raise UserError(f'--step_ms is {step_ms}: give the milliseconds of a step.')
  checks.check_training(config)
  devices.keep_to_the_cpu()
  topology = devices.open_topology(topology_name)
  spec = classes(config, num_classes)
  parallel.check_batch_size(config.batch_size, topology.mesh, config.accumulation_steps)
  usable = topology.usable_memory()
  height, width = config.crop_size
  compilations = 0

  with Reporter(None, total_steps=1) as report:

    def compiled(**changes: Any) -> programs.Compiled | programs.TooLarge:
      nonlocal compilations
      compilations += 1
      shown = ', '.join(f'{k}={v}' for k, v in changes.items()) or 'as configured'
      report.say(f'Compiling ({compilations}): {shown} ...')
      began = time.monotonic()
      step = training_step(changed(config, changes), topology, spec)
      took = format_duration(time.monotonic() - began)
      report.say(f'  {_size(step)} GB a device; this took {took}.')
      return step

    report.say(
      f'{config.batch_size} × {height}×{width} a step, {spec.num_classes} classes, '
      f'{config.model.get("dtype", "float32")}, on {len(topology.devices)} × '
      f'{topology.device.name} of {topology.device.memory / 1e9:.1f} GB '
      f'({topology.device.source}). Compiling takes a minute for a GPU, many for a TPU.'
    )
    first = compiled()
    rows = [_row('as configured', first, usable)]
    for changes in ways_to_save(config, len(topology.devices)) if ways else ():
      name = ', '.join(f'{k}={v}' for k, v in changes.items())
      try:
        rows.append(_row(name, compiled(**changes), usable))
      except UserError as e:  # such as too few images a part for batch normalisation
        report.say(f'  left out: {e}')
    report.table(COLUMNS, rows)
    report.say('')
    for line in _verdict(topology, first, usable):
      report.say(line)
    if isinstance(first, programs.Compiled):
      _on_more_devices(report, config, topology, first, compiled if ways else None, step_ms)
    if largest:

      def needs(batch_size: int) -> float:
        if batch_size == config.batch_size:
          return _needed(first)
        try:
          return _needed(compiled(batch_size=batch_size))
        except UserError as e:
          report.say(f'  not possible: {e}')
          return math.inf

      together = math.lcm(len(topology.devices), config.model.get('ghost_batch_size') or 1)
      unit = together * config.accumulation_steps
      found = largest_batch(needs, usable, unit=unit, first=config.batch_size)
      report.say(_largest(found.batch, found.is_largest))
    if isinstance(first, programs.Compiled):
      seconds = step_ms / 1e3 if step_ms else first.least_seconds
      report.say(_feeding(config, first.images / seconds))


def training_step(
  config: ml_collections.ConfigDict, topology: devices.Topology, spec: DatasetSpec
) -> programs.Compiled | programs.TooLarge:
  """Compiles the training step of a config, or says that the compiler finds it too large."""
  try:
    return programs.training_step(topology, **made(config, spec))
  except programs.TooLarge as e:
    return e


def made(config: ml_collections.ConfigDict, spec: DatasetSpec) -> dict[str, Any]:
  """What `programs.training_step` compiles for a config, as its keyword arguments."""
  c = config
  network = parts.make_network(c, parts.make_card(c, spec))
  _, tx = parts.make_optimizer(c, network.param_shapes)
  return {
    'network': network,
    'tx': tx,
    'step': parts.make_step(c, network, tx),
    'batch_size': c.batch_size,
    'crop_size': tuple(c.crop_size),
    'ema_decay': c.ema_decay,
    'deterministic': c.deterministic,
  }


def classes(config: ml_collections.ConfigDict, num_classes: int | None = None) -> DatasetSpec:
  """The classes of the config's data, which need not be there if it is published.

  Raises:
    UserError: if they cannot be told.
  """
  if num_classes is not None:
    if not 2 <= num_classes <= 255:
      raise UserError(f'--num_classes is {num_classes}: give 2 to 255.')
    names = tuple(f'class {i}' for i in range(num_classes))
    return DatasetSpec(names, default_palette(num_classes))
  if config.data.name in SPECS:
    return SPECS[config.data.name]
  if names := config.data.get('class_names'):
    return DatasetSpec(tuple(names), default_palette(len(names)))
  try:
    return parts.open_split(config, 'train', lenient=True).spec
  except UserError as e:
    raise UserError(f'{str(e).rstrip(".")}; without the data, give --num_classes=N.') from e


def _needed(step: programs.Compiled | programs.TooLarge) -> float:
  return step.peak if isinstance(step, programs.Compiled) else step.needed


def _size(step: programs.Compiled | programs.TooLarge) -> str:
  needed = _needed(step)
  return 'too many' if math.isinf(needed) else f'{needed / 1e9:.3g}'


def _row(name: str, step: programs.Compiled | programs.TooLarge, usable: int) -> list[Cell]:
  needed = _needed(step)
  size = _size(step)
  fits = 'yes' if needed <= usable else 'no'
  if not isinstance(step, programs.Compiled):
    return [name, size, fits, *4 * [None]]
  counted, least = step.counted, step.least_seconds
  flops = sum(counted.flops.values())
  figures = counted.memory / 1e9, flops / 1e12, 1e3 * least, step.images / least
  return [name, size, fits, *map(_short, figures)]


def _short(x: float) -> str:
  return f'{x:.3g}' if x < 100 else f'{x:.0f}'


def _verdict(
  topology: devices.Topology, step: programs.Compiled | programs.TooLarge, usable: int
) -> Iterator[str]:
  needed = _needed(step)
  verdict = 'fits' if needed <= usable else 'does not fit'
  yield f'It {verdict}: {_size(step)} GB a device, of {usable / 1e9:.1f} GB.'
  if topology.device.platform == 'gpu':
    yield (
      'JAX takes three quarters of a GPU: XLA_PYTHON_CLIENT_MEM_FRACTION=.9 gives it more, here '
      'as in training.'
    )
  if isinstance(step, programs.Compiled):
    arithmetic, traffic = step.seconds_of_arithmetic, step.seconds_of_traffic
    bound = 'arithmetic' if arithmetic > traffic else "the memory's speed"
    yield (
      f'At most {step.images / step.least_seconds:.0f} images/s, bound by {bound}: '
      f'{1e3 * arithmetic:.3g} ms of products, {1e3 * traffic:.3g} ms of traffic a step. '
      'A bound, not a promise: kernels that fall short of the data sheet, launches, messages '
      'between devices and the loader come on top.'
    )
    for kind, (count, size_sent) in step.counted.messages().items():
      yield f'{count} × {kind} a step, {size_sent / 1e6:.3g} MB a device.'
    if step.counted.endless:
      yield 'Some loops have no known length and are counted once: the figures are too small.'


def _on_more_devices(
  report: Reporter,
  config: ml_collections.ConfigDict,
  topology: devices.Topology,
  first: programs.Compiled,
  compiled: Callable[..., programs.Compiled | programs.TooLarge] | None,
  step_ms: float | None,
) -> None:
  count = len(topology.devices)
  links = scaling.LINKS.get(topology.name.partition(':')[0])
  if links is None or count == 1:
    return
  images = first.images // count
  steps: dict[str, programs.Compiled | programs.TooLarge] = {'as configured': first}
  own = images // config.accumulation_steps  # of a device, whose statistics need no message
  if config.model.get('ghost_batch_size') != 0 or own == 1:
    own = 0
  if compiled is not None and own:
    try:
      steps[f'model.ghost_batch_size={own}'] = compiled(**{'model.ghost_batch_size': own})
    except UserError as e:  # such as too few images a part for batch normalisation
      report.say(f'  left out: {e}')
      own = 0
  loads = {
    name: scaling.Load(images, step_ms / 1e3 if step_ms else x.least_seconds, x.counted.messages())
    for name, x in steps.items()
    if isinstance(x, programs.Compiled)
  }
  report.table(scaling.COLUMNS, scaling.rows(links, loads))
  for line in scaling.remarks(links, loads['as configured'], ghost=own):
    report.say(line)


def _feeding(config: ml_collections.ConfigDict, rate: float) -> str:
  try:
    source = parts.open_split(config, 'train', lenient=True)
    seconds = core_seconds(source, parts.make_transform(config, source.spec.num_classes))
  except UserError as e:
    return f'How many cores feed it is left out: {e}'
  return (
    f'An image takes {1e3 * seconds:.3g} ms of a core of this machine to read and augment: '
    f'{rate:.0f} images/s keep {rate * seconds:.2g} such cores busy.'
  )


def _largest(batch: int, is_largest: bool) -> str:
  if not batch:
    return 'No batch fits: take a smaller crop_size, or one of the ways above.'
  return f'The largest batch that fits: {"" if is_largest else "at least "}{batch}.'


def main(config: ml_collections.ConfigDict) -> None:
  plan(
    config,
    FLAGS.topology,
    num_classes=FLAGS.num_classes,
    largest=FLAGS.largest,
    ways=FLAGS.ways,
    step_ms=FLAGS.step_ms,
  )
