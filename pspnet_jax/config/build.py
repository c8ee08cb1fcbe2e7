"""From a config to a training run that is ready to go: the one visit to the config."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax

from pspnet_jax.config import checks, files, idle, parts
from pspnet_jax.data.identity import identity
from pspnet_jax.data.loader import train_batches
from pspnet_jax.data.skip_bad import SkipBadExamples
from pspnet_jax.data.spec import Source
from pspnet_jax.errors import UserError
from pspnet_jax.evaluation.validation import Validation
from pspnet_jax.inference.card import Card
from pspnet_jax.models.network import Network
from pspnet_jax.reporting.reporter import Reporter
from pspnet_jax.runtime import parallel, peers
from pspnet_jax.training import loop
from pspnet_jax.training.callbacks import Callback
from pspnet_jax.training.going_on import check_same
from pspnet_jax.training.init_from import start_from
from pspnet_jax.training.loop import Every
from pspnet_jax.training.state import TrainState
from pspnet_jax.training.step import Batch, Step, jit_options
from pspnet_jax.training.stop_signals import StopSignals
from pspnet_jax.weights.checkpoints import Checkpoints
from pspnet_jax.weights.stored_step import StoredStep

_log = logging.getLogger(__name__)


@dataclasses.dataclass
class Run:
  """A training run that is ready to go; close it when it is done.

  Attributes:
    card: what travels with the weights.
    network, step, state, batches, validation, checkpoints, callbacks: what `loop.fit` is given.
    log_also: see `loop.fit`.
    every: how often to log, evaluate and save.
    start_step, total_steps: where the run begins, and where it ends.
    devices: how many compute.
    source: the training data.
    notes: what the user should know of how it begins, a line each.
  """

  card: Card
  network: Network
  step: Step
  state: TrainState
  batches: Iterator[Batch]
  validation: Validation
  checkpoints: Checkpoints
  callbacks: list[Callback]
  log_also: dict[str, Callable[[int], float]]
  every: Every
  start_step: int
  total_steps: int
  devices: int
  source: Source
  notes: list[str]
  _stack: contextlib.ExitStack

  def fit(self, report: Reporter, stop: StopSignals) -> None:
    """Trains; see `loop.fit`."""
    loop.fit(
      self.step,
      self.state,
      self.batches,
      total_steps=self.total_steps,
      every=self.every,
      evaluate=self.validation,
      checkpoints=self.checkpoints,
      card=self.card,
      report=report,
      stop=stop,
      callbacks=self.callbacks,
      log_also=self.log_also,
    )

  def __enter__(self) -> Run:
    return self

  def __exit__(self, *error: Any) -> None:
    with contextlib.ExitStack() as watched:
      if (others := peers.current()) is not None and error[1] is not None:
        watched.enter_context(others.leaving_by(error[1]))
      self._stack.__exit__(*error)


class _ConfigKept(Callback):
  """Writes the workdir's config again when it was removed, as by something that tidies up."""

  def __init__(self, config: ml_collections.ConfigDict, workdir: Path):
    self._config, self._workdir = config, workdir

  def on_save(self, step: int) -> None:
    path = self._workdir / files.SAVED_AS
    if jax.process_index() == 0 and not path.exists():
      _log.warning('%s was removed: it is written again.', path)
      files.keep_config(self._config, self._workdir)


def run(config: ml_collections.ConfigDict, workdir: Path) -> Run:
  """Makes a run of a config: the one visit to it.

  It goes on from the latest checkpoint in `workdir`, else from `config.init_from`, else it begins
  anew. The config is kept in the workdir.

  Raises:
    UserError: for whatever the user can mend; what was saved stays.
  """
  c = config
  checks.check_values(c)
  checks.check_training(c)
  mesh = parallel.make_mesh()
  on_mesh = parallel.replicated(mesh)
  parallel.check_batch_size(c.batch_size, mesh, c.accumulation_steps)

  # Data first: most mistakes are there, and they show at once.
  with parallel.together():
    source, val_source = (parts.open_split(c, split) for split in ('train', 'val'))
    if source.spec.class_names != val_source.spec.class_names:
      train, val = (', '.join(s.spec.class_names) for s in (source, val_source))
      raise UserError(
        f'the train split has the classes {train}, and val {val}: give both the same.'
      )
  _check_processes_agree(c, source, val_source)
  tolerant = SkipBadExamples(source) if c.data_errors == 'skip' else None
  transform = parts.make_transform(c, source.spec.num_classes)
  card = parts.make_card(c, source.spec, exif=getattr(source, 'exif', 'upright'))
  network = parts.make_network(c, card)
  schedule, tx = parts.make_optimizer(c, network.param_shapes)
  platform = mesh.devices.flat[0].platform
  options = jit_options(network, platform, devices=mesh.size, deterministic=c.deterministic)
  step = jax.jit(parts.make_step(c, network, tx), out_shardings=on_mesh, **options)
  validation = Validation(
    parts.make_inference(c, network, card),
    val_source,
    threads=c.threads or None,
    pictures=c.pictures,
    skip_bad=c.data_errors == 'skip',
  )
  validation.check_labels()
  callbacks = parts.make_callbacks(c)

  with contextlib.ExitStack() as stack:  # whatever is wrong from here on, the workdir is given free
    checkpoints = stack.enter_context(Checkpoints(workdir))
    state, notes = _first_state(c, network, tx, card, checkpoints, on_mesh)
    notes = [*checkpoints.passed_over, *notes]
    with parallel.together():
      changes = files.keep_config(c, workdir) if jax.process_index() == 0 else []
    notes += dict.fromkeys(n for s in (source, val_source) for n in getattr(s, 'notes', ()))
    notes += filter(None, [parts.seen_in_training(c, c)])
    notes += idle.notes(c)
    notes += _on_parts(c) if network.batch_stat_shapes else ()
    notes += _on_compiling(platform, options['compiler_options'], c.deterministic)
    if start_step := int(state.step):
      notes += [f'Going on from step {start_step}.', *(f'  {change}' for change in changes)]
    batches: Generator[dict[str, np.ndarray]] = train_batches(
      source if tolerant is None else tolerant,
      transform=transform,
      batch_size=c.batch_size,
      seed=c.seed,
      start_step=start_step,
      process_index=jax.process_index(),
      process_count=jax.process_count(),
      threads=c.threads or None,
      choose=parts.make_choice(c, source, workdir),
    )
    stack.enter_context(contextlib.closing(batches))
    log_also: dict[str, Callable[[int], float]] = {
      'learning_rate': lambda done: float(schedule(done - 1))
    }
    if tolerant is not None:
      log_also['train/skipped_examples'] = lambda _: _over_processes(tolerant.replaced)
    return Run(
      card=card,
      network=network,
      step=step,
      state=state,
      batches=parallel.prefetch(batches, mesh),
      validation=validation,
      checkpoints=checkpoints,
      callbacks=[*callbacks, _ConfigKept(c, workdir)],
      log_also=log_also,
      every=Every(log=c.log_every, evaluate=c.eval_every, save=c.checkpoint_every),
      start_step=start_step,
      total_steps=c.total_steps,
      devices=mesh.size,
      source=source,
      notes=notes,
      _stack=stack.pop_all(),
    )


def _check_processes_agree(config: ml_collections.ConfigDict, train: Source, val: Source) -> None:
  """Raises UserError if processes that train together were given different things to do."""
  # Where the data lie may differ from machine to machine, and how many threads read them.
  own = ('data', 'threads', 'init_from')
  values: dict[str, Any] = {f'config.{k}': x for k, x in config.to_dict().items() if k not in own}
  for split, source in (('training', train), ('validation', val)):
    found = identity(source, with_files=False)
    values |= {f'the {key} of the {split} data': found[key] for key in sorted(found)}
  if different := parallel.differing(values):
    raise UserError(
      f'{different[0]} differs between the processes: start all of them with the same config and '
      'the same data.'
    )


def _first_state(
  config: ml_collections.ConfigDict,
  network: Network,
  tx: optax.GradientTransformation,
  card: Card,
  checkpoints: Checkpoints,
  sharding: jax.sharding.Sharding,
) -> tuple[TrainState, list[str]]:
  """The latest checkpoint if there is one, else a new network or the weights to start from."""

  def new_state() -> TrainState:
    return TrainState.create(network, tx, seed=config.seed, ema_decay=config.ema_decay)

  def go_on(stored: StoredStep) -> tuple[TrainState, list[str]]:
    wanted = jax.eval_shape(new_state).items()
    begins = 'ema_params' in wanted and not stored.has_average
    if begins:
      del wanted['ema_params']
    check_same(checkpoints.directory.parent, stored.card(), card)
    items, _ = stored.items(wanted, sharding)
    state = TrainState.from_items(stored.step, {name: items.get(name, {}) for name in wanted})
    if not begins:
      return state, []
    average = jax.tree.map(jnp.copy, state.params)
    note = f'The moving average begins at the parameters of step {stored.step}.'
    return dataclasses.replace(state, ema_params=average), [note]

  if checkpoints.agreed_steps():
    state, notes = checkpoints.from_newest(go_on)
    return jax.device_put(state, sharding), notes
  state = new_state()
  notes = []
  if config.init_from:
    params, batch_stats, notes = start_from(config.init_from, card, state.params, state.batch_stats)
    state = state.with_weights(params, batch_stats)
  return jax.device_put(state, sharding), notes


def _on_parts(config: ml_collections.ConfigDict) -> Iterator[str]:
  """Yields what batch statistics see where a batch is taken in parts."""
  c = config
  if c.accumulation_steps == 1:
    return
  ghost, fixed = c.model.get('ghost_batch_size', 0), c.model.get('fixed_batch_stats', ())
  images = ghost or c.batch_size // c.accumulation_steps
  yield (
    f'Each batch of {c.batch_size} is taken in {c.accumulation_steps} parts: batch statistics are '
    f'of {images} images each'
    + (' (model.ghost_batch_size)' if ghost else '')
    + (f', but for {", ".join(fixed)}, whose own stay as they are' if fixed else '')
    + '.'
  )


def _on_compiling(platform: str, options: Mapping[str, str], deterministic: bool) -> Iterator[str]:
  """Yields what the user should know of how the step is compiled; a CPU's options are no news."""
  if platform == 'cpu':
    if deterministic:
      yield 'config.deterministic does nothing on a CPU, which computes the same each time anyway.'
  elif options:
    yield f'Compiler options: {", ".join(f"{name}={value}" for name, value in options.items())}.'
  elif deterministic:
    yield f'config.deterministic does nothing: XLA has no options for it on {platform.upper()}s.'


def _over_processes(count: int) -> int:
  return int(parallel.sum_over_processes(np.array([count], np.int64))[0])
