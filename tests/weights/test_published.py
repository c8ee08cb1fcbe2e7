"""A name becomes a file, and the network of its authors."""

import dataclasses
import hashlib

import numpy as np
import pytest

import pspnet_jax
from pspnet_jax.data.known_classes import numbered_classes
from pspnet_jax.errors import UserError
from pspnet_jax.inference.card import Card
from pspnet_jax.inference.protocol import MMSEG, MMSEG_SLIDE
from pspnet_jax.models.network import Network
from pspnet_jax.training.init_from import start_from
from pspnet_jax.weights import catalogue, download, published
from tests.weights import served
from tests.weights.served import OPTIONS
from tests.weights.test_importing import draw, error, logits, torch_logits

ENTRIES = catalogue.entries()


@pytest.fixture(scope='module')
def model():
  return served.net()


@pytest.fixture
def names(model, tmp_path, monkeypatch):
  with served.two_names(model, tmp_path / 'cache', monkeypatch) as entries:
    yield entries


def test_files_without_an_address_are_explained():
  with pytest.raises(UserError, match=r'github.com/hszhao/PSPNet links, .*convert --input=FILE'):
    published.load(ENTRIES['caffe_pspnet50_ade20k'])


def test_a_backbone_is_no_network():
  with pytest.raises(UserError, match=r'--config\.init_from=resnet50_v1c'):
    pspnet_jax.load_pretrained('resnet50_v1c')


def test_a_name_becomes_the_network_of_its_authors(names, model):
  converted, image = published.load(names['net']), draw(64, 72)
  assert error(logits(converted, image), torch_logits(model, image)) < 2e-5
  card = converted.card
  assert card.crop_size == (48, 64) and card.spec.class_names == tuple('abcde')
  file = download.cached(names['net'].address)
  assert card.source == {
    'name': 'mmseg',
    'files': {'net.pth': f'sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}'},
    'zoo': 'net',
    'address': names['net'].address,
  }
  assert card.published['mIoU'] == 73.88 and card.published['mIoU_ms'] == 76.85
  assert card.published['source'].endswith('v1.2.2/configs/pspnet/metafile.yaml')
  assert Card.from_json(card.to_json()) == card


def test_protocols_are_those_of_the_configs():
  whole = published.protocol(ENTRIES['pspnet_r50-d8_4xb4-80k_ade20k-512x512'])
  assert whole == MMSEG and whole.scaled_size((512, 683), 1.0) == (512, 683)
  slid = published.protocol(ENTRIES['pspnet_r50-d8_4xb2-80k_cityscapes-769x769'])
  assert slid.window == (769, 769) and slid.stride == 513 / 769
  assert slid.scaled_size((1024, 2048), 1.0) == (1025, 2049)
  assert dataclasses.replace(slid, window='crop', base_size=(2048, 512)) == MMSEG_SLIDE
  context = published.protocol(ENTRIES['pspnet_r101-d8_4xb4-40k_pascal-context-480x480'])
  assert context.base_size == (520, 520) and context.window == (480, 480)
  assert round(context.stride * 480) == 320


def fresh(num_classes, **changes):
  """Card and initial values of a new network that the files fit."""
  options = {**OPTIONS, **changes}
  spec = numbered_classes(num_classes)
  card = Card(network={'num_classes': num_classes, **options}, spec=spec, crop_size=(33, 33))
  return card, *Network(num_classes, **options).init(0)


def test_a_run_starts_from_a_name(names):
  card, params, stats = fresh(5, dilations=None)
  new, _, notes = start_from('net', card, params, stats)
  expected = published.load(names['net']).params
  assert all(np.array_equal(new[name], expected[name]) for name in expected)
  assert notes == [
    'Starting from net.',
    'The names of its classes are not known, and their number is the same: its classifiers were '
    'taken as they are.',
    'It was made with dilations=(1, 1, 2, 4), and here it is None.',
  ]
  _, _, notes = start_from('net', *fresh(5, bins=(1, 2, 4, 8)))
  assert notes[-1] == 'It was made with bins=(1, 2, 3, 6), and here it is (1, 2, 4, 8).'
  new, _, notes = start_from('backbone', card, params, stats)
  name = 'backbone/stage4/0/conv1/conv/kernel'
  np.testing.assert_array_equal(new[name], expected[name])
  assert notes == [
    'Starting from backbone.',
    'Not taken from there, but fresh: all but the backbone.',
  ]
