"""Files that hold no PSPNet, a part of one, or more than one: each is refused by a key's name."""

import pytest
import torch

from pspnet_jax.errors import UserError
from pspnet_jax.weights import importing
from tests.conftest import TINY
from tests.weights import state_dicts
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
    (lambda s: s.update({'layer1.0.se.weight': torch.ones(2)}), r'layer1\.0\.se\.weight belong'),
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
  with pytest.raises(UserError, match=r'aux\.0\.weight.* belong'):
    importing.convert([path], source='mmseg')
  with pytest.raises(UserError, match=r'both hold aux\.0\.weight'):
    importing.convert([path, path])


def test_mit_needs_both_files(tmp_path):
  encoder, decoder = state_dicts.mit(state_dicts.model(**TINY).state_dict())
  for name, state in (('e.pth', encoder), ('d.pth', decoder)):
    torch.save(state, tmp_path / name)
  with pytest.raises(UserError, match='ENCODER,DECODER'):
    importing.convert([tmp_path / 'd.pth'])
  with pytest.raises(UserError, match='ImageNet backbone without a head'):
    importing.convert([tmp_path / 'e.pth'])
