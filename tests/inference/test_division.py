"""Whole images whose rows are divided among devices, against the same on one device."""

import collections
import dataclasses

import jax
import numpy as np
import pytest
from jax.sharding import AxisType

from pspnet_jax.errors import UserError
from pspnet_jax.evaluation.scoring import PixelLoss, confusion_matrix
from pspnet_jax.inference.engine import Inference
from pspnet_jax.inference.ensemble import Ensemble
from pspnet_jax.inference.protocol import Protocol
from pspnet_jax.runtime import compiler_options, parallel
from tests.inference.test_engine import Source, images, model  # noqa: F401  (a fixture)

WHOLE = Protocol(window='image', padding='none')
MIRRORED = dataclasses.replace(WHOLE, flip=True)
SCALES = dataclasses.replace(
  MIRRORED, scales=(0.5, 1.25), average='logits', flip_rule='image', resize_back='network'
)
ANTI_ALIASED = dataclasses.replace(
  WHOLE,
  resize='long_side',
  base_size=(150,),
  resampling='matlab',
  resize_back='matlab',
  flip=True,
  flip_rule='logits',
)


@pytest.fixture(autouse=True)
def compiled_quickly(monkeypatch):
  options = {'xla_cpu_scheduler_type': 'CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED'}
  monkeypatch.setattr(compiler_options, 'for_network', lambda *args, **kwargs: options)


def on(devices, monkeypatch):
  mesh = jax.make_mesh(
    (devices,), ('data',), (AxisType.Auto,), devices=jax.local_devices()[:devices]
  )
  monkeypatch.setattr(parallel, 'make_mesh', lambda local=False: mesh)


def made(model, protocol, **options):  # noqa: F811
  card, network, params, batch_stats = model
  inference = Inference(network, dataclasses.replace(card, protocol=protocol), **options)
  return inference, inference.prepare(params, batch_stats)


def scores(inference, weights, many):
  found = inference.probabilities(weights, enumerate(many))
  return [np.asarray(x)[: y.shape[0], : y.shape[1]] for (_, x), y in zip(found, many, strict=True)]


@pytest.mark.parametrize(
  ('protocol', 'sizes', 'devices'),
  [
    # No height divides by devices × stride, some not by the devices, one is a row a device.
    (WHOLE, [(97, 41), (17, 90)], (2, 8)),
    (MIRRORED, [(131, 33)], (3,)),
    (SCALES, [(97, 61)], (8,)),
    (ANTI_ALIASED, [(201, 60)], (8,)),
  ],
  ids=['plain', 'mirrored', 'scales', 'anti-aliased'],
)
def test_rows_that_are_divided_give_what_the_whole_gives(
  model,  # noqa: F811
  protocol,
  sizes,
  devices,
  monkeypatch,
):
  many = images(*sizes)
  on(1, monkeypatch)
  expected = scores(*made(model, protocol), many)
  for count in devices:
    on(count, monkeypatch)
    inference, weights = made(model, protocol, split_height=True)
    found = scores(inference, weights, many)
    for ours, theirs in zip(found, expected, strict=True):
      assert np.abs(ours - theirs).max() < 2e-5 * np.abs(theirs).max()
      np.testing.assert_array_equal(ours.argmax(-1), theirs.argmax(-1))
      assert len(np.unique(theirs.argmax(-1))) > 1


def test_every_device_holds_its_share_of_the_canvas_and_of_the_network(model, monkeypatch):  # noqa: F811
  on(8, monkeypatch)
  inference, weights = made(model, MIRRORED, split_height=True)
  [image] = images((1024, 256))
  seen = []

  def look(tile, sums):
    seen.append({shard.data.shape for shard in sums.scores.addressable_shards})

  [(_, label)] = inference.labels(weights, [(None, image)], look)
  assert seen == [{(128, 256, 5)}] and len(label.sharding.device_set) == 8

  def temporaries(count):
    on(count, monkeypatch)
    inference, weights = made(model, MIRRORED, split_height=True)
    [tile] = inference._cut([(None, image)])
    [window] = inference._windows(tile, collections.deque())
    sent = inference._to_device([window], 1)
    program = inference._programs.of(image.shape).run.lower(weights, sent).compile()
    return program.memory_analysis().temp_size_in_bytes

  assert temporaries(8) < temporaries(1) / 6


@pytest.mark.parametrize('protocol', [MIRRORED, SCALES], ids=['mirrored', 'scales'])
def test_whole_images_that_are_divided_are_never_tiles_as_well(model, protocol, monkeypatch):  # noqa: F811
  """Every piece is the whole image: smaller canvases would save nothing."""
  on(8, monkeypatch)
  inference, _ = made(model, protocol, split_height=True, canvas_mb=1)
  [image] = images((400, 200))
  assert image[..., 0].size > inference.canvas_pixels
  [tile] = inference._cut([(None, image)])
  assert tile.size == (400, 200)


def test_two_networks_score_divided_images_together(model, monkeypatch):  # noqa: F811
  many = images((97, 41), (33, 64))
  labels = [x[..., 0] // 64 for x in many]
  found, losses = [], []
  for devices in (1, 2):
    on(devices, monkeypatch)
    inference, weights = made(model, WHOLE, split_height=devices > 1)
    source = Source(model[0].spec, many, labels)
    losses.append(PixelLoss())
    networks = Ensemble([inference] * 2)
    found.append(confusion_matrix(networks, [weights] * 2, source, loss=losses[-1]))
  assert found[0].sum() == sum(label.size for label in labels)
  np.testing.assert_array_equal(*found)
  assert losses[1].total() == pytest.approx(losses[0].total(), rel=1e-6)


def test_windows_are_not_divided_by_rows(model):  # noqa: F811
  with pytest.raises(
    UserError, match=r'^eval\.split_height divides .* give eval\.whole_images=True'
  ):
    made(model, Protocol(), split_height=True)


def test_one_device_has_nothing_to_divide(model, monkeypatch, caplog):  # noqa: F811
  on(1, monkeypatch)
  many = images((33, 41))
  [ours], [theirs] = (scores(*made(model, WHOLE, split_height=x), many) for x in (True, False))
  np.testing.assert_array_equal(ours, theirs)
  assert caplog.text.count('eval.split_height does nothing here') == 1
