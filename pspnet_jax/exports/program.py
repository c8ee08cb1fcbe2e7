"""The function that is exported: an image in, its labels out.

It is the network on one image, with the pixels' normalisation before it and the upsampling of its
logits after it. The protocol of an evaluation is not in it: no windows, scales or mirror images.
`load(DIR, protocol='plain', window='image')` answers the same.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

import pspnet_jax
from pspnet_jax.errors import UserError
from pspnet_jax.inference.card import Card
from pspnet_jax.models.network import Arrays, Network
from pspnet_jax.ops.images import normalize
from pspnet_jax.runtime import compiler_options
from pspnet_jax.runtime.limits import PIXELS

Size: TypeAlias = tuple[int, int] | None  # None: any
Weights = tuple[Arrays, Arrays]
Outputs = dict[str, Any]
Run = Callable[[np.ndarray], Outputs]  # of uint8 [N, H, W, 3]

WRITER = 'pspnet_jax '  # how `written_by` begins in a description
NOT_IN_IT = (
  'It is the network on one image: the windows, scales and mirror images of an evaluation are not '
  'in it.'
)


@dataclasses.dataclass(frozen=True)
class Program:
  """What is to be exported.

  Args:
    card: what the weights need to be used.
    network: the network that they are of.
    params, batch_stats: the weights.
    origin: which weights these are, in words, as 'step 6'.
    size: height and width of the images; None: any.
    probabilities: whether they are put out beside the labels.

  Raises:
    UserError: if the network cannot be run on images of that size.
  """

  card: Card
  network: Network
  params: Arrays
  batch_stats: Arrays
  origin: str
  size: Size
  probabilities: bool = False

  def __post_init__(self) -> None:
    stride = self.network.options.get('output_stride', 8)
    if self.size is not None and min(self.size) < stride:
      raise UserError(
        f'--size={",".join(map(str, self.size))}: a side is less than the {stride} pixels of one '
        f'cell of the feature map; the network was trained at {",".join(map(str, self.crop))}.'
      )
    if self.size is not None and (fault := PIXELS.exceeded_by(self.size[0] * self.size[1])):
      raise UserError(f'--size={",".join(map(str, self.size))} has {fault}.')

  @property
  def crop(self) -> tuple[int, int]:
    """Height and width that the network was trained at."""
    return self.card.crop_size

  @property
  def shape(self) -> tuple[int | str, ...]:
    """The image's shape, names for what is free: [N, H, W, 3]."""
    return ('batch', *(self.size or ('height', 'width')), 3)

  @property
  def outputs(self) -> dict[str, tuple[str, tuple[int | str, ...]]]:
    """Dtype and shape of each output."""
    outputs = {'labels': ('uint8', self.shape[:3])}
    if self.probabilities:
      outputs['probabilities'] = ('float32', (*self.shape[:3], self.card.spec.num_classes))
    return outputs

  def function(self) -> tuple[Callable[[Weights, jax.Array], dict[str, jax.Array]], Weights]:
    """Makes the function in JAX, and its first argument."""
    folded, card, probabilities = self.network.folded(), self.card, self.probabilities

    def run(weights: Weights, image: jax.Array) -> dict[str, jax.Array]:
      pixels = normalize(image, card.mean, card.std)
      logits = folded.apply(*weights, pixels)[0]['logits']  # [N, H, W, C], of the image's size
      outputs = {'labels': logits.argmax(-1).astype(jnp.uint8)}
      if probabilities:
        outputs['probabilities'] = jax.nn.softmax(logits)
      return outputs

    return run, self.network.fold(self.params, self.batch_stats)

  def live(self) -> Run:
    """Makes the function that runs here, with its probabilities: what a file is compared with."""
    run, weights = dataclasses.replace(self, probabilities=True).function()
    weights = jax.device_put(weights)
    options = compiler_options.for_network(jax.devices()[0].platform, train=False)
    jitted = jax.jit(run, compiler_options=options)
    return lambda image: jax.tree.map(np.asarray, jitted(weights, image))

  def described(self) -> str:
    """What whoever runs it has to know, as JSON."""
    card = self.card
    sides = 'any' if self.size is None else list(self.size)
    return json.dumps(
      {
        'network': card.title,
        'weights': self.origin,
        'written_by': f'{WRITER}{pspnet_jax.__version__}',
        'image': f'uint8 {_text(self.shape)}, RGB, as decoded: normalisation is inside',
        **{name: f'{dtype} {_text(shape)}' for name, (dtype, shape) in self.outputs.items()},
        'size': sides,
        'trained_at': list(card.crop_size),
        'orientation': card.exif,
        'mean': list(card.mean),
        'std': list(card.std),
        'class_names': list(card.spec.class_names),
        'palette': [list(colour) for colour in card.spec.palette],
        'note': NOT_IN_IT,
      },
      indent=1,
      ensure_ascii=False,
    )

  def __str__(self) -> str:
    outputs = ', '.join(
      f'{name} {dtype} {_text(shape)}' for name, (dtype, shape) in self.outputs.items()
    )
    return (
      f'{self.card.title} of {self.origin}: image uint8 {_text(self.shape)} → {outputs}. '
      f'{NOT_IN_IT}'
    )


def _text(shape: tuple[int | str, ...]) -> str:
  return f'[{", ".join(map(str, shape))}]'
