"""Everything that a training step changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from pspnet_jax.models.network import Arrays, Network
from pspnet_jax.training import optim


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
  """What a step changes. `ema_params` is None unless an average is kept."""

  step: jax.Array  # int32 scalar: steps taken
  params: Arrays
  batch_stats: Arrays
  opt_state: Any
  ema_params: Arrays | None = None

  @classmethod
  def create(
    cls, network: Network, tx: optax.GradientTransformation, *, seed: int, ema_decay: float = 0.0
  ) -> TrainState:
    """Makes the state of step 0."""
    params, batch_stats = network.init(seed)
    # A copy: state is donated to the step, and a buffer can be given away only once.
    ema_params = jax.tree.map(jnp.copy, params) if ema_decay else None
    opt_state = jax.jit(tx.init)(params)  # one program, not one for each shape
    return cls(jnp.int32(0), params, batch_stats, opt_state, ema_params)

  @property
  def params_to_use(self) -> Arrays:
    """The parameters to evaluate and predict with: the moving average, where one is kept."""
    return self.params if self.ema_params is None else self.ema_params

  def with_weights(self, params: Arrays, batch_stats: Arrays) -> TrainState:
    """A state of the same step with other weights; a moving average begins at them."""
    average = None if self.ema_params is None else jax.tree.map(jnp.copy, params)
    return dataclasses.replace(self, params=params, batch_stats=batch_stats, ema_params=average)

  @jax.named_scope('optimizer')
  def updated(
    self,
    tx: optax.GradientTransformation,
    gradients: Arrays,
    batch_stats: Arrays,
    *,
    ema_decay: float = 0.0,
  ) -> TrainState:
    """The state of the next step."""
    updates, opt_state = tx.update(gradients, self.opt_state, self.params)
    params = optax.apply_updates(self.params, updates)
    ema_params = self.ema_params
    if ema_params is not None:
      decay = optim.ema_decay_at(self.step, ema_decay)
      ema_params = jax.tree.map(lambda a, p: optim.ema(a, p, decay), ema_params, params)
    return TrainState(self.step + 1, params, batch_stats, opt_state, ema_params)

  def items(self) -> dict[str, Any]:
    """What a checkpoint stores, by name; the step is the checkpoint's number."""
    fields = [field.name for field in dataclasses.fields(self) if field.name != 'step']
    items = {name: getattr(self, name) for name in fields}
    return {name: value for name, value in items.items() if value is not None}

  @classmethod
  def from_items(cls, step: int, items: Mapping[str, Any]) -> TrainState:
    """Makes a state of the `items` of a checkpoint."""
    return cls(jnp.int32(step), **items)
