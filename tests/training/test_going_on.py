"""What a run is not gone on with: other classes, pixels or conventions."""

import dataclasses
from pathlib import Path

import pytest

from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.errors import UserError
from pspnet_jax.inference.card import Card
from pspnet_jax.inference.protocol import PLAIN
from pspnet_jax.training.going_on import check_same

CARD = Card(
  network={'num_classes': 3, 'bins': (1, 2), 'dropout_rate': 0.1},
  spec=DatasetSpec(('road', 'sky', 'tree'), ((0, 0, 0),) * 3),
  crop_size=(33, 33),
)
WORKDIR = Path('runs/a')


def changed(spec=None, **network):
  return dataclasses.replace(CARD, spec=spec or CARD.spec, network={**CARD.network, **network})


@pytest.mark.parametrize('names', [('sky', 'road', 'tree'), ('a', 'b', 'c'), ('road', 'sky')])
def test_other_classes_or_another_order_are_refused_with_both_lists(names):
  here = changed(DatasetSpec(names, ((0, 0, 0),) * len(names)))
  says = f'the 3 classes road, sky, tree, and the data have the {len(names)} {", ".join(names)}: '
  with pytest.raises(UserError, match=says):
    check_same(WORKDIR, CARD, here)


@pytest.mark.parametrize(
  ('option', 'value', 'was'),
  [
    ('align_corners', False, True),
    ('output_stride', 16, 8),
    ('dilations', (1, 1, 2, 4), None),
    ('contract_dilation', True, False),
    ('dilate_conv2', True, False),
    ('stride_in_1x1', True, False),
    ('pooling', 'max', 'avg'),
    ('bins', (1, 3), r'\(1, 2\)'),
  ],
)
def test_conventions_that_no_shape_tells_are_refused(option, value, was):
  says = rf'^runs/a was trained with model\.{option}={was}, and .*set config.model.{option} back'
  with pytest.raises(UserError, match=says):
    check_same(WORKDIR, CARD, changed(**{option: value}))


def test_other_pixels_are_refused():
  here = dataclasses.replace(CARD, mean=(0.0, 0.0, 0.0))
  with pytest.raises(UserError, match=r'with mean=.*--config\.init_from=runs/a\.$'):
    check_same(WORKDIR, CARD, here)


def test_what_does_not_change_what_the_weights_mean_may_change():
  here = changed(
    DatasetSpec(CARD.spec.class_names, ((1, 2, 3),) * 3),
    dropout_rate=0.5,
    dtype='bfloat16',
    bins=[1, 2],  # as JSON has it
    align_corners=True,  # the default that stood for itself before
  )
  check_same(
    WORKDIR,
    CARD,
    dataclasses.replace(here, crop_size=(49, 49), protocol=PLAIN.changed(flip=True)),
  )


def test_options_of_a_network_of_ones_own_are_its_own():
  check_same(WORKDIR, changed(name='mine:Net', rate=2), changed(name='mine:Net', rate=3))
