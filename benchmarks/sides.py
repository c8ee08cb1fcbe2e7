"""Two trainings of one PSPNet that take the same batches: pspnet_jax's own, and plain PyTorch's.

Weights, batches, learning rates, loss and decay are the same. What differs is each library's own:
its arithmetic, its draws of dropout, and the running variance, of which torch keeps n / (n - 1).
"""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import jax
import ml_collections
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

from pspnet_jax.config import parts
from pspnet_jax.config.defaults import defaults
from pspnet_jax.inference.card import Card
from pspnet_jax.models.network import Arrays, Network
from pspnet_jax.training.state import TrainState
from pspnet_jax.training.step import jit_options
from tests import torch_pspnet

Batch = dict[str, np.ndarray]  # image uint8 [N, H, W, 3], label uint8 [N, H, W]

# What the PyTorch side can be told; all else has to be as it is by default.
_NETWORK = (
  *('depth', 'output_stride', 'stem_channels', 'width', 'bins', 'pooling', 'reduce_dimension'),
  *('head_channels', 'aux_head', 'aux_channels', 'dropout_rate', 'dropout_kind', 'align_corners'),
)
_SCHEDULE = ('base_lr', 'power', 'min_lr', 'warmup_steps', 'warmup_start')
_KNOWN = {
  'model': _NETWORK,
  'optimizer': (*_SCHEDULE, 'momentum', 'weight_decay', 'head_multiplier'),
  'loss': (),
}


class Side(Protocol):
  """A training that goes on."""

  def step(self, batch: Batch) -> None:
    """Takes one step; may return before the device is done."""

  def losses(self) -> list[float]:
    """Waits for the device, and gives the losses of the steps since the last call."""

  def weights(self) -> tuple[Arrays, Arrays]:
    """Parameters and batch statistics under our names."""


class Ours:
  """The step that `pspnet train` runs."""

  def __init__(
    self,
    config: ml_collections.ConfigDict,
    card: Card,
    weights: tuple[Arrays, Arrays],
    like: Batch,
  ):
    network = parts.make_network(config, card)
    _, tx = parts.make_optimizer(config, network.param_shapes)
    params, batch_stats = jax.tree.map(jax.numpy.array, weights)
    state = TrainState.create(network, tx, seed=config.seed)
    state = state.with_weights(params, batch_stats)
    self._state = dataclasses.replace(state, opt_state=tx.init(params))  # in the weights' dtype
    step = jax.jit(parts.make_step(config, network, tx), **jit_options(network))
    self._step = step.lower(self._state, like).compile()  # not while the clock runs
    self._losses: list[Any] = []

  def step(self, batch: Batch) -> None:
    self._state, measured = self._step(self._state, batch)
    self._losses.append(measured['loss'])

  def losses(self) -> list[float]:
    jax.block_until_ready(self._state)
    found, self._losses = [float(x.compute()) for x in self._losses], []
    return found

  def weights(self) -> tuple[Arrays, Arrays]:
    return self._state.params, self._state.batch_stats


class Theirs:
  """The same network, loss and optimiser in PyTorch, as its users write them."""

  def __init__(
    self,
    config: ml_collections.ConfigDict,
    card: Card,
    weights: tuple[Arrays, Arrays],
    *,
    channels_last: bool = False,
  ):
    check(config)
    torch.manual_seed(config.seed)
    self._config, self._like = config, {**weights[0], **weights[1]}
    self._params = set(weights[0])
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    memory = torch.channels_last if channels_last else torch.contiguous_format
    options = {key: config.model[key] for key in _NETWORK}
    model = torch_pspnet.TorchPSPNet(card.spec.num_classes, **options)
    model = torch_pspnet.load(model, *map(_on_host, weights))
    self._model = model.to(device, memory_format=memory).train()
    self._device, self._memory = device, memory
    self._mean, self._std = (
      torch.tensor(x, device=device)[:, None, None] for x in (config.mean, config.std)
    )
    self._schedule, _ = parts.make_optimizer(config, weights[0])
    named = list(model.named_parameters())
    head = [p for name, p in named if not name.startswith('layer')]
    backbone = [p for name, p in named if name.startswith('layer')]
    of_sgd = config.optimizer
    self._optimizer = torch.optim.SGD(
      [
        {'params': backbone, 'times': 1.0},
        {'params': head, 'times': of_sgd.head_multiplier},
      ],
      lr=of_sgd.base_lr,
      momentum=of_sgd.momentum,
      weight_decay=of_sgd.weight_decay,
    )
    self._done = 0
    self._losses: list[torch.Tensor] = []

  def step(self, batch: Batch) -> None:
    for group in self._optimizer.param_groups:
      group['lr'] = float(self._schedule(self._done)) * group['times']
    image = torch.from_numpy(batch['image']).to(self._device).permute(0, 3, 1, 2).float()
    image = ((image - self._mean) / self._std).to(next(self._model.parameters()).dtype)
    image = image.contiguous(memory_format=self._memory)
    label = torch.from_numpy(batch['label']).to(self._device).long()
    outputs = self._model(image)
    loss = F.cross_entropy(outputs['logits'], label, ignore_index=255)
    if 'aux_logits' in outputs:
      aux = F.cross_entropy(outputs['aux_logits'], label, ignore_index=255)
      loss = loss + self._config.aux_weight * aux
    self._optimizer.zero_grad()
    loss.backward()
    self._optimizer.step()
    self._losses.append(loss.detach())
    self._done += 1

  def losses(self) -> list[float]:
    found, self._losses = [float(x) for x in self._losses], []
    return found

  def weights(self) -> tuple[Arrays, Arrays]:
    state = {
      name: x.cpu()
      for name, x in self._model.state_dict().items()
      if not name.endswith('num_batches_tracked')
    }
    arrays = torch_pspnet.from_torch(state, self._like)
    on_device = {name: jax.numpy.asarray(x) for name, x in arrays.items()}
    params = {name: x for name, x in on_device.items() if name in self._params}
    return params, {name: x for name, x in on_device.items() if name not in self._params}


def first_weights(config: ml_collections.ConfigDict, card: Card) -> tuple[Arrays, Arrays]:
  """The weights that both begin with: those of `pspnet train` with the config's seed."""
  network: Network = parts.make_network(config, card)
  return network.init(config.seed)


def check(config: ml_collections.ConfigDict) -> None:
  """Raises ValueError if the config has something that the PyTorch side does not do."""
  known = defaults()
  for group, keys in _KNOWN.items():
    for key, value in config[group].items():
      if key not in keys and value != known[group][key]:
        raise ValueError(f'{group}.{key} is {value!r}: the peer knows {known[group][key]!r} only')
  for key in ('accumulation_steps', 'ema_decay'):
    if config[key] != known[key]:
      raise ValueError(f'{key} is {config[key]!r}: the peer knows {known[key]!r} only')


def _on_host(arrays: Arrays) -> dict[str, np.ndarray]:
  return {name: np.asarray(x) for name, x in arrays.items()}
