"""A packed network of seconds, and files of it that are not what they were."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from pspnet_jax.data.palettes import default_palette
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.inference.card import Card
from pspnet_jax.models.network import Network
from pspnet_jax.weights import packed, packed_config
from pspnet_jax.weights.loaded import Loaded
from pspnet_jax.weights.packed_config import About, Figure
from tests.conftest import TINY

CARD = Card(
  network={'num_classes': 3, **TINY},
  spec=DatasetSpec(('sky', 'road', 'car'), default_palette(3)),
  crop_size=(33, 33),
)
NETWORK = Network(**CARD.network)
ABOUT = About(
  'A network',
  'mit',
  (Figure('measured', 'streets', '5 images', {'mIoU': 0.5}, {'sky': 0.75, 'car': None}),),
)
README = b'# A network\n'


def network(seed: int = 0, **changes: Any) -> Loaded:
  """A network as it comes out of a workdir, with random weights."""
  rng = np.random.default_rng(seed)
  params, batch_stats = (
    {name: jnp.asarray(rng.random(x.shape), x.dtype) for name, x in shapes.items()}
    for shapes in (NETWORK.param_shapes, NETWORK.batch_stat_shapes)
  )
  made = Loaded(6, CARD, NETWORK, params, batch_stats, 'digest')
  return dataclasses.replace(made, **changes)


def write(folder: Path, made: Loaded | None = None) -> Path:
  packed.write(folder, made or network(), ABOUT, {packed.README: README})
  return folder


def edit_config(folder: Path, edit: Callable[[dict[str, Any]], None]) -> None:
  """Changes config.json, and the checksum of it that it holds, as who means harm would."""
  path = folder / packed.CONFIG
  values = json.loads(path.read_text())
  edit(values)
  values['sha256'] = packed_config._own_sha256(values)
  path.write_text(json.dumps(values))


def edit_header(folder: Path, edit: Callable[[dict[str, Any]], None]) -> None:
  """Changes the header of model.safetensors, whose arrays stay."""
  path = folder / packed.WEIGHTS
  content = path.read_bytes()
  start = 8 + int.from_bytes(content[:8], 'little')
  header = json.loads(content[8:start])
  edit(header)
  text = json.dumps(header).encode()
  path.write_bytes(len(text).to_bytes(8, 'little') + text + content[start:])
