"""Every source: recognised, converted, and compared with what its authors' code computes."""

import math

import cv2
import jax
import numpy as np
import pytest
import torch

from pspnet_jax.data.known_classes import PASCAL_CONTEXT, PASCAL_CONTEXT_59, VOC2012
from pspnet_jax.data.palettes import default_palette
from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.errors import UserError
from pspnet_jax.models.network import Network
from pspnet_jax.ops.images import normalize
from pspnet_jax.weights import importing
from pspnet_jax.weights.foreign import caffe
from tests.conftest import TINY
from tests.torch_pspnet import from_torch, nchw, nhwc
from tests.weights import caffe_files, rebuilt, rebuilt_more, state_dicts
from tests.weights.state_dicts import CLASSES, MMSEG, NARROW


def draw(height: int, width: int) -> np.ndarray:
  """A picture uint8 [height, width, 3] of soft patches: noise would look the same everywhere."""
  patches = np.random.default_rng(7).integers(0, 256, (5, 6, 3)).astype(np.float32)
  return cv2.resize(patches, (width, height)).astype(np.uint8)


def save(path, state, **more):
  torch.save({'epoch': 3, 'state_dict': state, 'optimizer': {'state': {}}, **more}, path)
  return path


def semseg_file(tmp_path, **changes):
  model = state_dicts.model(**dict(TINY, **changes))
  return save(tmp_path / 's.pth', {f'module.{k}': x for k, x in model.state_dict().items()})


def logits(converted, image, dtype='float32', **changes):
  """Our logits of an image uint8 [H, W, 3]; `changes` go to the network's arguments."""
  card = converted.card
  with jax.enable_x64(dtype == 'float64'):
    network = Network(**{**card.network, **changes}, dtype=dtype)
    params, batch_stats = (
      {name: x.astype(dtype) for name, x in part.items()}
      for part in (converted.params, converted.batch_stats)
    )
    x = normalize(image[None].astype(dtype), card.mean, card.std, dtype)
    run = jax.jit(network.apply)
    return np.asarray(run(params, batch_stats, x)[0]['logits'][0])


def torch_logits(model, image):
  """Their logits, of RGB less ImageNet's mean over its deviation: semseg, mmseg and MIT do so."""
  mean, std = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
  with torch.no_grad():
    return nhwc(model(nchw(((image - mean) / std).astype(np.float32)[None]))['logits'])[0]


# Case -> the author's network, and the size of an image.
CASES = {
  'semseg': (rebuilt.Semseg, {'depth': 50}, (57, 73)),
  'mmseg-v1c': (rebuilt.Mmseg, {'depth': 50}, (56, 72)),
  'mmseg-769': (rebuilt.Mmseg, {'depth': 50, 'align_corners': True}, (57, 73)),
  'mmseg-d32': (rebuilt.Mmseg, {'depth': 50, 'output_stride': 32}, (64, 96)),
  'mmseg-18b': (rebuilt.Mmseg, {'depth': 18, 'stem': '7x7'}, (64, 40)),
  'mit': (rebuilt.Mit, {'depth': 50}, (56, 72)),
  'mit-18': (rebuilt.Mit, {'depth': 18}, (56, 72)),
  'paddleseg': (rebuilt_more.Paddle, {'depth': 50}, (55, 73)),
  'gluoncv': (rebuilt_more.Gluon, {'depth': 50}, (57, 73)),
  'sssegmentation-16': (
    rebuilt_more.Sssegmentation,
    {'depth': 50, 'output_stride': 16},
    (64, 96),
  ),
}
FLAGS = {
  'sssegmentation-16': {'output_stride': 16},
  'mmseg-769': {'align_corners': True},
  'mmseg-d32': {'output_stride': 32},
}


def error(ours, theirs):
  assert ours.shape == theirs.shape
  return np.abs(ours - theirs).max() / np.abs(theirs).max()


@pytest.mark.parametrize('name', CASES)
def test_logits_are_those_of_the_source(name, tmp_path):
  kind, options, size = CASES[name]
  image = draw(*size)
  peer = kind(num_classes=CLASSES, width=8, **options).fill(image)
  converted = importing.convert(peer.write(tmp_path), **FLAGS.get(name, {}))
  assert converted.card.source['name'] == name.split('-')[0]
  assert error(logits(converted, image), peer.logits(image)) < 2e-5
  ours, theirs = logits(converted, image, 'float64'), peer.logits(image, torch.float64)
  assert error(ours, theirs) < 1e-12 and len(np.unique(theirs.argmax(-1))) == CLASSES
  np.testing.assert_array_equal(ours.argmax(-1), theirs.argmax(-1))


@pytest.mark.parametrize(
  ('name', 'changes'),
  [
    ('semseg', {'contract_dilation': True}),
    ('mmseg-v1c', {'contract_dilation': False}),
    ('mmseg-v1c', {'align_corners': True}),
    ('mmseg-d32', {'dilations': None}),
    ('mit-18', {'dilate_conv2': False}),
    ('paddleseg', {'avg_down': False}),
    ('paddleseg', {'contract_dilation': True}),
    ('gluoncv', {'align_corners': False}),
    ('sssegmentation-16', {'output_stride': 8}),
  ],
)
def test_another_convention_would_show(name, changes, tmp_path):
  kind, options, size = CASES[name]
  image = draw(*size)
  peer = kind(num_classes=CLASSES, width=8, **options).fill(image)
  converted = importing.convert(peer.write(tmp_path), **FLAGS.get(name, {}))
  assert error(logits(converted, image, 'float64', **changes), peer.logits(image)) > 1e-2


@pytest.mark.parametrize(('depth', 'legacy', 'aux'), [(50, False, 6), (101, True, 0)])
def test_logits_are_those_of_caffe(depth, legacy, aux, tmp_path):
  blobs, image = caffe_files.blobs_of(depth, aux=aux), draw(89, 41)
  blobs['conv6'][1] -= caffe_files.logits_of(blobs, image, depth).mean((0, 1))
  path = caffe_files.caffemodel(tmp_path / 'p.caffemodel', blobs, legacy=legacy)
  converted = importing.convert([path])
  network = converted.card.network
  assert (network['depth'], network['stride_in_1x1']) == (depth, depth == 50)
  assert network['aux_head'] == bool(aux) and network['dropout_kind'] == 'element'
  if depth == 50:  # the deeper one is compared in float64 alone
    assert error(logits(converted, image), caffe_files.logits_of(blobs, image, depth)) < 2e-5
  theirs = caffe_files.logits_of(blobs, image, depth, torch.float64)
  ours = logits(converted, image, 'float64')
  assert error(ours, theirs) < 1e-12 and len(np.unique(theirs.argmax(-1))) == CLASSES
  np.testing.assert_array_equal(ours.argmax(-1), theirs.argmax(-1))
  other = logits(converted, image, 'float64', stride_in_1x1=depth != 50)
  assert error(other, theirs) > 1e-3


@pytest.mark.parametrize(
  ('depth', 'classes', 'count'),
  [(101, 21, 65_708_501), (101, 19, 65_707_475), (50, 150, 46_782_550)],
)
def test_parameter_counts_are_those_of_the_prototxts(depth, classes, count):
  """The network at full size, without the auxiliary head."""
  options = caffe.conventions(depth, classes, None, 8).network
  network = Network(classes, depth=depth, aux_head=False, **options)
  assert sum(math.prod(x.shape) for x in network.param_shapes.values()) == count


@pytest.mark.parametrize('kind', ['torchvision', 'numbered', 'timm', 'v1c'])
@pytest.mark.parametrize('depth', [18, 50])
def test_imagenet_backbones(kind, depth, tmp_path):
  stem = (8,) if kind == 'torchvision' else (4, 4, 8)
  state = state_dicts.model(**dict(NARROW, depth=depth, stem_channels=stem)).state_dict()
  path = state_dicts.safetensors(tmp_path / 'b.safetensors', state_dicts.imagenet(state, kind))
  weights = importing.read_weights([path])
  assert weights.origin.name == 'imagenet'
  backbone = {
    k: x
    for k, x in state.items()
    if k.startswith('layer') and not k.endswith('num_batches_tracked')
  }
  for name, x in from_torch(backbone, weights.arrays).items():
    np.testing.assert_array_equal(weights.arrays[name], x)
  with pytest.raises(UserError, match=r'b\.safetensors is a backbone .*init_from'):
    importing.convert([path])


def test_a_classifier_of_openmmlab_is_a_backbone(tmp_path):
  state = state_dicts.model(**dict(NARROW, stem_channels=(8,))).state_dict()
  plain = state_dicts.imagenet(state, 'torchvision')
  theirs = {f'{"head" if k.startswith("fc") else "backbone"}.{k}': x for k, x in plain.items()}
  torch.save({'meta': {}, 'state_dict': theirs}, tmp_path / 'b.pth')
  weights = importing.read_weights([tmp_path / 'b.pth'])
  expected = importing.read_weights([state_dicts.safetensors(tmp_path / 'a.safetensors', plain)])
  assert weights.origin.name == 'imagenet' and weights.arrays.keys() == expected.arrays.keys()
  for name, x in expected.arrays.items():
    np.testing.assert_array_equal(weights.arrays[name], x)


def test_bfloat16_is_read(tmp_path):
  state = state_dicts.model(**dict(NARROW, stem_channels=(8,))).state_dict()
  state = state_dicts.imagenet(state, 'torchvision')
  path = state_dicts.safetensors(tmp_path / 'b.safetensors', state, 'BF16')
  kernel = importing.read_weights([path]).arrays['backbone/stage1/0/conv1/conv/kernel']
  assert kernel.dtype == np.float32
  rounded = state['layer1.0.conv1.weight'].bfloat16().float().numpy().transpose(2, 3, 1, 0)
  np.testing.assert_array_equal(kernel, rounded)


def test_the_card_holds_the_conventions_of_the_source(tmp_path):
  def card(path, **options):
    return importing.convert([path], **options).card

  cityscapes = state_dicts.model(19, **MMSEG).state_dict()
  path = save(tmp_path / 'm.pth', state_dicts.mmseg(cityscapes))
  assert card(path).crop_size == (512, 1024) and card(path).protocol.window == 'image'
  aligned = card(path, align_corners=True)
  assert (
    aligned.network['align_corners']
    and aligned.crop_size == (769, 769)
    and aligned.protocol.window == 'crop'
  )
  assert aligned.spec.class_names[13] == 'car' and aligned.spec.palette[0] == (128, 64, 128)
  assert card(path, output_stride=32).network['output_stride'] == 32
  assert card(semseg_file(tmp_path)).spec.class_names == tuple(f'class_{i}' for i in range(CLASSES))
  blobs = caffe_files.blobs_of(classes=21, aux=0)
  voc = card(caffe_files.caffemodel(tmp_path / 'v.caffemodel', blobs))
  assert voc.spec.class_names[0] == 'background' and voc.std == (1.0, 1.0, 1.0)
  assert list(voc.source['files']) == ['v.caffemodel']


@pytest.mark.parametrize('spec', [PASCAL_CONTEXT, PASCAL_CONTEXT_59])
def test_pascal_context_is_named_as_its_labels_count(tmp_path, spec):
  voc = [name if name != 'diningtable' else 'table' for name in VOC2012.class_names]
  voc = [name for name in voc if name in spec.class_names]
  names = (*voc, *(name for name in spec.class_names if name not in voc))  # mmsegmentation's order

  def classes(names):
    meta = {'dataset_meta': {'classes': names}}
    return importing.classes_of(importing.ForeignWeights(None, {}, meta, 'a.pth'), len(names))

  found, (note,) = classes(names)
  assert found == spec and 'alphabet' in note
  assert classes(spec.class_names) == (
    DatasetSpec(spec.class_names, default_palette(len(names))),
    (),
  )
  others = (*names[:-2], names[-1], 'a class of their own')
  assert classes(others)[0].class_names == others


def test_classes_of_the_file_go_before_known_ones(tmp_path):
  state = state_dicts.mmseg(state_dicts.model(**MMSEG).state_dict())
  names = ('a', 'b', 'c', 'd', 'e')
  palette = [[i, i, i] for i in range(5)]
  old = save(tmp_path / 'old.pth', state, meta={'CLASSES': names, 'PALETTE': palette})
  new = save(tmp_path / 'new.pth', state, meta={'dataset_meta': {'classes': names}})
  assert importing.convert([old]).card.spec == DatasetSpec(names, tuple(map(tuple, palette)))
  assert importing.convert([new]).card.spec.class_names == names
  with pytest.raises(UserError, match='5 classes, and 2 names'):
    importing.convert([old], classes=DatasetSpec(('x', 'y'), ((0, 0, 0), (1, 1, 1))))


NAMES = ['a', 'b', 'c', 'd', 'e']
NUMBERED = tuple(f'class_{i}' for i in range(5))


@pytest.mark.parametrize(
  ('meta', 'names', 'colour', 'note'),
  [
    ({'CLASSES': NAMES, 'PALETTE': np.full((5, 3), 7)}, tuple(NAMES), (7, 7, 7), ''),
    ({'CLASSES': NAMES, 'PALETTE': [[7, 7]] * 5}, tuple(NAMES), None, ''),
    ({'CLASSES': NAMES, 'PALETTE': [[7, 7, 777]] * 5}, tuple(NAMES), None, ''),
    ({'CLASSES': NAMES, 'PALETTE': [['x', {}, None]] * 5}, tuple(NAMES), None, ''),
    ({'CLASSES': NAMES, 'PALETTE': 3.5}, tuple(NAMES), None, ''),
    ({'CLASSES': NAMES[:3]}, NUMBERED, None, 'Its meta names 3 classes of 5'),
    ({'CLASSES': 3}, NUMBERED, None, 'no list of names'),
    ({'CLASSES': 'abcde'}, NUMBERED, None, 'no list of names'),
    ({'CLASSES': [1, 2, 3, 4, 5]}, NUMBERED, None, 'no list of names'),
    ({'dataset_meta': [1]}, NUMBERED, None, ''),
    ({'dataset_meta': {'classes': {'a': 1}}}, NUMBERED, None, 'no list of names'),
    ([1, 2], NUMBERED, None, ''),
  ],
  ids=range(12),
)
def test_meta_of_any_kind(meta, names, colour, note, tmp_path):
  state = state_dicts.mmseg(state_dicts.model(**dict(MMSEG, **TINY)).state_dict())
  converted = importing.convert([save(tmp_path / 'm.pth', state, meta=meta)])
  assert converted.card.spec.class_names == names
  assert converted.card.spec.palette[0] == (colour or default_palette(5)[0])
  assert note in ''.join(converted.notes)
  assert converted.describe().endswith(note and converted.notes[0])


def test_what_was_chosen_and_what_was_left_out_is_said_and_kept(tmp_path):
  state = dict(state_dicts.model(**TINY).state_dict())
  follower = {name: 2 * x for name, x in state.items()}
  path = save(tmp_path / 's.pth', state | {'queue': torch.ones(2)}, state_dict_ema=follower)
  converted = importing.convert([path])
  assert converted.card.source['notes'] == converted.notes
  assert converted.describe().splitlines()[-2:] == [
    'Taken: state_dict. The file has state_dict_ema as well; --key=NAME takes another.',
    'Left out, being no part of the network: queue.',
  ]
  other = importing.convert([path], key='state_dict_ema')
  for name, x in converted.params.items():
    np.testing.assert_array_equal(other.params[name], 2 * x)
