"""Files that hold no PSPNet, a part of one, or more than one: each is refused by a key's name."""

import numpy as np
import pytest
import torch

from pspnet_jax.errors import UserError
from pspnet_jax.weights import importing
from tests.conftest import TINY
from tests.weights import state_dicts
from tests.weights.state_dicts import MMSEG, NARROW
from tests.weights.test_importing import save, semseg_file


def changed(tmp_path, change):
  state = state_dicts.model(**TINY).state_dict()
  change(state)
  return [save(tmp_path / 'changed.pth', state)]


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (lambda s: s.pop('layer3.0.bn2.bias'), r'lacks layer3\.0\.bn2\.bias'),
    (lambda s: s.pop('cls.4.weight'), r'lacks cls\.4\.weight'),
    (lambda s: s.pop('cls.0.weight'), r'lacks cls\.0\.weight'),
    (lambda s: s.pop('layer0.3.weight'), r'lacks layer0\.3\.weight'),
    (lambda s: s.pop('ppm.features.2.1.weight'), r'lacks ppm\.features\.2\.1\.weight: it is not'),
    (lambda s: s.pop('aux.0.weight'), r'lacks aux\.0\.weight'),
    (lambda s: s.update({'layer1.0.se.weight': torch.ones(2)}), 'squeeze-and-excitation'),
    (lambda s: s.update({'layer1.0.conv2.bias': torch.ones(4)}), r'no layer1\.0\.conv2\.bias'),
    (lambda s: s.update({'layer1.0.bn1.bias': torch.ones(7)}), r'layer1\.0\.bn1\.bias.* \(7,\)'),
    (lambda s: s.update({'layer1.0.bn1.bias': torch.ones(2, 2)}), r'bn1\.bias has shape \(2, 2\)'),
    (lambda s: s.update({'cls.0.weight': torch.ones(4)}), r'cls\.0\.weight has shape \(4,\)'),
    (lambda s: s.update({'cls.0.weight': torch.ones(12, 5, 3, 3)}), r'cls\.0\.weight takes 5'),
    (
      lambda s: s.update({'cls.4.bias': torch.full((5,), torch.nan)}),
      r'cls\.4\.bias is not finite',
    ),
    (lambda s: s.update({'cls.4.bias': torch.ones(5, dtype=torch.int8)}), r'cls\.4\.bias .*int8'),
    (lambda s: [s.pop(k) for k in list(s) if 'ppm.features.3' in k], '3 pyramid levels'),
    (lambda s: [s.pop(k) for k in list(s) if 'layer4' in k], '1, 1, 1, 0 basic blocks'),
    (
      lambda s: s['layer2.0.bn1.running_var'].neg_(),
      r'layer2\.0\.bn1\.running_var, a variance, is below',
    ),
    (lambda s: [s.pop(k) for k in list(s) if 'layer0' in k], 'none of the sources known'),
  ],
)
def test_files_that_do_not_fit_name_the_key(tmp_path, change, message):
  with pytest.raises(UserError, match=message) as caught:
    importing.convert(changed(tmp_path, change))
  assert 'changed.pth' in str(caught.value) and '\n' not in str(caught.value)


def test_sources_that_do_not_fit(tmp_path):
  path = semseg_file(tmp_path)
  with pytest.raises(UserError, match='--source=caffee is none of semseg, mmseg, mit'):
    importing.convert([path], source='caffee')
  with pytest.raises(UserError, match=r'no array that mmseg would name so: leave out --source'):
    importing.convert([path], source='mmseg')
  with pytest.raises(UserError, match=r'both hold aux\.0\.weight'):
    importing.convert([path, path])


def test_mit_needs_both_files(tmp_path):
  encoder, decoder = state_dicts.mit(state_dicts.model(**TINY).state_dict())
  for name, state in (('e.pth', encoder), ('d.pth', decoder)):
    torch.save(state, tmp_path / name)
  with pytest.raises(UserError, match='ENCODER,DECODER'):
    importing.convert([tmp_path / 'd.pth'])
  with pytest.raises(UserError, match='backbone without the head of a PSPNet'):
    importing.convert([tmp_path / 'e.pth'])


def backbone(depth=50):
  state = state_dicts.model(**dict(NARROW, depth=depth, stem_channels=(8,))).state_dict()
  return state_dicts.imagenet(state, 'torchvision')


def grouped(state):
  for name in state:
    if name.endswith('.conv2.weight'):
      state[name] = state[name][:, : state[name].shape[1] // 2]


def wide(state):
  for name in list(state):
    for part, axis in (('.conv1.', 0), ('.bn1.', 0), ('.conv2.', 0), ('.conv2.', 1), ('.bn2.', 0)):
      if name.startswith('layer') and part in name and state[name].ndim > axis:
        state[name] = torch.cat([state[name]] * 2, axis)
    if name.startswith('layer') and '.conv3.' in name:
      state[name] = torch.cat([state[name]] * 2, 1)


def shorter(state):
  for name in list(state):
    if name.startswith('layer') and int(name.split('.')[1]) > 1:
      del state[name]


FAMILIES = {
  'resnext': (grouped, 'ResNeXt, whose 3×3 convolutions have 2 groups'),
  'wide': (wide, 'Wide ResNet, whose blocks make 16 channels of 8'),
  'se': (lambda s: s.update({'layer1.0.se.fc1.weight': torch.ones(2)}), 'squeeze-and-excitation'),
  '26': (shorter, '2, 2, 2, 2 bottleneck blocks in its stages, which is no ResNet-10, -18'),
  'a stem of 3×3': (lambda s: s.update({'conv1.weight': torch.ones(8, 3, 3, 3)}), 'conv1'),
  'one layer less': (lambda s: s.pop('layer3.1.bn2.bias'), r'lacks layer3\.1\.bn2\.bias'),
  'one layer more': (
    lambda s: s.update({'layer1.0.conv4.weight': torch.ones(4, 4, 1, 1)}),
    'conv4',
  ),
}


@pytest.mark.parametrize('name', FAMILIES)
def test_backbones_of_other_families_are_refused_by_what_they_are(name, tmp_path):
  change, message = FAMILIES[name]
  state = backbone()
  change(state)
  with pytest.raises(UserError, match=message) as caught:
    importing.read_weights([save(tmp_path / 'b.pth', state)])
  assert 'config.model' not in str(caught.value) and '--source' not in str(caught.value)


def test_names_say_whether_shortcuts_pool(tmp_path):
  def read(state, name='b.pth'):
    return importing.read_weights([save(tmp_path / name, state)])

  plain, found = read(backbone()), read(state_dicts.pooled(backbone()))
  assert (plain.origin.avg_down, found.origin.avg_down) == (False, True)
  assert found.arrays.keys() == plain.arrays.keys()
  for name, x in plain.arrays.items():
    np.testing.assert_array_equal(found.arrays[name], x)
  whole = state_dicts.mmseg(state_dicts.model(**MMSEG).state_dict())
  assert not importing.convert([save(tmp_path / 'n.pth', whole)]).card.network['avg_down']
  whole = state_dicts.pooled(whole)
  assert importing.convert([save(tmp_path / 'n.pth', whole)]).card.network['avg_down']


def test_pooling_shortcuts_of_a_source_without_them_are_refused(tmp_path):
  state = state_dicts.pooled(state_dicts.model(**NARROW).state_dict())
  with pytest.raises(UserError, match=r'ResNet-d, whose shortcuts pool .*downsample\.1'):
    importing.convert([save(tmp_path / 'n.pth', state)])


def test_whole_networks_of_other_families_are_refused_likewise(tmp_path):
  state = state_dicts.model(**NARROW).state_dict()
  grouped(state)
  with pytest.raises(UserError, match='ResNeXt'):
    importing.convert([save(tmp_path / 'n.pth', state_dicts.mmseg(state))])
