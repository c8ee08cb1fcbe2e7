"""The card that an export writes beside its arrays, and what may not stand in one."""

import copy
import json

import pytest

from pspnet_jax.data.spec import DatasetSpec
from pspnet_jax.errors import UserError
from pspnet_jax.inference.card import Card
from pspnet_jax.inference.protocol import MMSEG, SEMSEG, Protocol
from pspnet_jax.weights import written_card

NETWORK = {
  'num_classes': 2,
  'depth': 18,
  'output_stride': 16,
  'dilations': (1, 1, 2, 4),
  'align_corners': False,
  'bins': (1, 2, 4, 8),
  'dropout_rate': 0.2,
}
CARD = Card(
  NETWORK,
  DatasetSpec(('a|b', 'ä'), ((0, 0, 0), (1, 2, 255))),
  (33, 65),
  Protocol(window=(33, 65), scales=(0.5, 1.0), flip=True, stride=0.5),
  (1.0, 2.0, 3.0),
  (4.0, 5.0, 6.5),
)


@pytest.mark.parametrize('protocol', [CARD.protocol, SEMSEG, MMSEG, Protocol()])
def test_what_is_written_is_read(protocol):
  card = Card(NETWORK, CARD.spec, (33, 65), protocol, CARD.mean, CARD.std)
  written = written_card.read(written_card.text_of(card), 'a.pth')
  told = written.conventions
  assert written.spec == card.spec and told.protocol == protocol and told.crop_size == (33, 65)
  assert (told.mean, told.std) == (card.mean, card.std)
  assert told.network == {
    **{k: v for k, v in NETWORK.items() if k not in ('num_classes', 'depth')},
    'contract_dilation': False,
    'dilate_conv2': False,
    'avg_down': False,
    'stride_in_1x1': False,
    'dropout_kind': 'channel',
    'pooling': 'avg',
  }


CHANGES = {
  'network': [
    *(
      {'output_stride': 7},
      {'output_stride': True},
      {'avg_down': 1},
      {'dilations': [1, 1, 2, 1 << 40]},
    ),
    *({'align_corners': 1}, {'bins': []}, {'bins': [1 << 40]}, {'bins': [1] * 1000}, {'bins': 3}),
    *({'dropout_rate': 1.0}, {'dropout_kind': 'none'}, {'pooling': 'max'}, {'name': 'os:system'}),
  ],
  'protocol': [
    *({'scales': []}, {'scales': [float('nan')]}, {'scales': [1e9]}, {'scales': [1.0] * 1000}),
    *({'window': 'x'}, {'window': [1 << 20, 1 << 20]}, {'window': [0, 4]}, {'resize': 'x'}),
    *({'resize': ['none']}, {'base_size': [1 << 40]}, {'stride': 0.0}, {'flip': 'yes'}),
    *({'extra': -1}, {'unknown': 1}),
  ],
  'spec': [
    *({'class_names': ['a', 'a']}, {'class_names': ['a']}, {'class_names': [1, 2]}),
    *({'palette': [[0, 0, 0]]}, {'palette': [[0, 0, 0], [0, 0, 256]]}, {'palette': 'no'}),
  ],
  None: [
    *({'crop_size': [0, 1]}, {'crop_size': [1 << 20, 1 << 20]}, {'crop_size': [1.5, 2]}),
    *({'mean': [1, 2]}, {'mean': [1, 2, float('inf')]}, {'std': [1, 0, 1]}, {'spec': None}),
    *({'network': []}, {'protocol': None}),
  ],
}


@pytest.mark.parametrize(
  ('part', 'change'), [(p, c) for p, changes in CHANGES.items() for c in changes]
)
def test_what_no_network_could_have_is_refused(part, change):
  values = copy.deepcopy(json.loads(written_card.text_of(CARD)))
  (values if part is None else values[part]).update(change)
  with pytest.raises(UserError, match=r"a\.pth: .* under 'pspnet_jax' cannot be used") as e:
    written_card.read(json.dumps(values), 'a.pth')
  assert '\n' not in str(e.value)


@pytest.mark.parametrize(
  'text', [None, 3, b'{}', '', '{}', '[]', '[' * 100_000, '"x"', ' ' * 2_000_000], ids=range(9)
)
def test_what_is_no_card_is_refused(text):
  with pytest.raises(UserError, match='cannot be used'):
    written_card.read(text, 'a.pth')
