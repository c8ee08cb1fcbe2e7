"""Two files of our own under names of published weights, on a server of our own."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from pspnet_jax.weights import catalogue
from pspnet_jax.weights.catalogue import Entry
from tests.conftest import TINY
from tests.torch_pspnet import TorchPSPNet
from tests.weights import state_dicts
from tests.weights.file_server import serve
from tests.weights.test_importing import draw, torch_logits

ENTRIES = catalogue.entries()
OPTIONS = dict(
  TINY, stem_channels=(2, 2, 4), contract_dilation=True, output_stride=32, dilations=(1, 1, 2, 4)
)


def net() -> TorchPSPNet:
  """A network of mmseg's kind, of which every class wins somewhere."""
  made, image = state_dicts.model(**OPTIONS), draw(64, 72)
  made.cls[4].bias.data -= torch.tensor(torch_logits(made, image).mean((0, 1)))
  return made


@contextlib.contextmanager
def two_names(model: TorchPSPNet, cache: Path, monkeypatch) -> Iterator[Mapping[str, Entry]]:
  """'net', with conventions that no shape tells, and 'backbone' are the only names for a while."""
  monkeypatch.setenv('PSPNET_JAX_CACHE', str(cache))
  monkeypatch.setenv('no_proxy', '127.0.0.1')
  state = model.state_dict()
  net = {'state_dict': state_dicts.mmseg(state), 'meta': {'CLASSES': list('abcde')}}
  contents = [to_bytes(net), to_bytes(state_dicts.imagenet(state, 'v1c'))]
  with serve(contents[0]) as one, serve(contents[1], 'backbone.pth') as two:
    changes = {'depth': 10, 'stem_channels': (2, 2, 4)}
    entries = {
      'net': dataclasses.replace(
        ENTRIES['pspnet_r50-d32_4xb2-80k_cityscapes-512x1024'],
        **(changes | {'name': 'net', 'align_corners': True, 'crop_size': (48, 64)}),
        address=one.address,
        sha256=hashlib.sha256(contents[0]).hexdigest()[:8],
      ),
      'backbone': dataclasses.replace(
        ENTRIES['resnet50_v1c'],
        **(changes | {'name': 'backbone'}),
        address=two.address,
        sha256=hashlib.sha256(contents[1]).hexdigest(),
      ),
    }
    monkeypatch.setattr(catalogue, 'entries', lambda: entries)
    yield entries


def to_bytes(content) -> bytes:
  buffer = io.BytesIO()
  torch.save(content, buffer)
  return buffer.getvalue()
