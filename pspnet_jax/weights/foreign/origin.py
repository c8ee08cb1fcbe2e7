"""Describes an implementation whose weights can be read: its names and conventions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from pspnet_jax.data.spec import IMAGENET_MEAN, IMAGENET_STD
from pspnet_jax.inference.protocol import PLAIN, Protocol
from pspnet_jax.weights.foreign.name_table import NameTable

# Arguments of `Network` that change what the same weights compute, and that no shape tells.
CONVENTIONS = (
  'output_stride',
  'dilations',
  'align_corners',
  'contract_dilation',
  'dilate_conv2',
  'stride_in_1x1',
  'avg_down',
  'bins',
  'pooling',
)
BINS = (1, 2, 3, 6)  # of every published network
CITYSCAPES_CLASSES = 19  # by their number the data sets of the published networks are known


@dataclasses.dataclass(frozen=True)
class Conventions:
  """What shapes do not tell: some arguments of `Network`, and fields of `Card`."""

  network: Mapping[str, Any]
  crop_size: tuple[int, int]
  protocol: Protocol = PLAIN
  mean: tuple[float, float, float] = IMAGENET_MEAN
  std: tuple[float, float, float] = IMAGENET_STD


@dataclasses.dataclass(frozen=True)
class Origin:
  """An implementation whose weights can be read.

  Args:
    name: what `--source` calls it; variants share it.
    marks: keys that tell its files from those of the origins after it in recognise.ORIGINS.
    table: how it names its arrays.
    avg_down: whether the names say that shortcuts pool before they convolve.
    conventions: from depth, number of classes, the wish for align_corners (None: its own) and
      output stride; None for ImageNet classifiers, of which only the backbone is of use.
  """

  name: str
  marks: tuple[str, ...]
  table: NameTable
  conventions: Callable[[int, int, bool | None, int], Conventions] | None = None
  avg_down: bool = False


def network_conventions(
  *,
  align_corners: bool,
  contract_dilation: bool = False,
  dilate_conv2: bool = False,
  dilations: tuple[int, int, int, int] | None = None,
  stride_in_1x1: bool = False,
  avg_down: bool = False,
  dropout_kind: str = 'channel',
) -> dict[str, Any]:
  """The arguments of `Network` that no shape tells."""
  return {
    'align_corners': align_corners,
    'contract_dilation': contract_dilation,
    'dilate_conv2': dilate_conv2,
    'dilations': dilations,
    'stride_in_1x1': stride_in_1x1,
    'avg_down': avg_down,
    'bins': BINS,
    'pooling': 'avg',
    'dropout_kind': dropout_kind,
  }
