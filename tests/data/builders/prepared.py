"""Prepares small archives in place of the published ones, and reads what became of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pspnet_jax.data.sources import open_source
from tests import published


def prepare(
  monkeypatch: pytest.MonkeyPatch, root: Path, dataset: str, counts: Mapping[str, int]
) -> Path:
  """Prepares the archives that lie in `root`."""
  pytest.importorskip('tensorflow_datasets', reason='needs the extra tfds')
  from pspnet_jax import prepare as door

  published.accept(monkeypatch, door.READ_FROM.get(dataset, dataset), counts)
  return door.prepare(dataset, root / 'data', root)


def labels(root: Path, dataset: str, split: str) -> dict[str, np.ndarray]:
  """The labels of a split, by the names of the examples."""
  return {name: example['label'] for name, example in examples(root, dataset, split).items()}


def examples(root: Path, dataset: str, split: str) -> dict[str, Any]:
  source = open_source(dataset, split, data_dir=str(root / 'data'))
  return {example['name']: example for example in map(source.__getitem__, range(len(source)))}


def same(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
  assert sorted(found) == sorted(expected)
  for name, label in expected.items():
    np.testing.assert_array_equal(found[name], label, err_msg=name)
    assert found[name].dtype == np.uint8
