"""What the PSPNets of open-mmlab/mmsegmentation have in common, as v1.2.2 trains them.

Sources: configs/_base_/models/pspnet_r50-d8.py, configs/_base_/schedules/schedule_*.py, for each
data set configs/_base_/datasets/*.py, and configs/pspnet/*.py for what a backbone changes.
"""

import ml_collections

_V1C, _7X7 = (32, 32, 64), (64,)
_SMALL = {'head_channels': 128, 'aux_channels': 64}  # of ResNet-18
# A backbone's name in mmsegmentation -> its network, and the ImageNet weights it starts from.
BACKBONES = {
  'r18': ({'depth': 18, 'stem_channels': _V1C, **_SMALL}, 'resnet18_v1c'),
  'r50': ({'depth': 50, 'stem_channels': _V1C}, 'resnet50_v1c'),
  'r101': ({'depth': 101, 'stem_channels': _V1C}, 'resnet101_v1c'),
  'r18b': ({'depth': 18, 'stem_channels': _7X7, **_SMALL}, 'resnet18.tv_in1k'),
  'r50b': ({'depth': 50, 'stem_channels': _7X7}, 'resnet50.tv_in1k'),
  'r101b': ({'depth': 101, 'stem_channels': _7X7}, 'resnet101.tv_in1k'),
  'r50-rsb': ({'depth': 50, 'stem_channels': _7X7}, 'resnet50_8xb256-rsb-a1-600e_in1k'),
}


def base(data, backbone, steps, *, crop_size=(512, 512), scale=(2048, 512), test_scale=None):
  """Returns the config of a data set, a backbone and a number of steps.

  Args:
    data: name of the data set.
    backbone: a key of BACKBONES.
    steps: how many.
    crop_size: of training.
    scale: the box that images are fitted into before they are scaled by 0.5 to 2.
    test_scale: the box of evaluation; None: the same.
  """
  c = ml_collections.ConfigDict()
  c.batch_size = 16
  c.total_steps = steps
  c.crop_size = crop_size
  # Whole images compile a program for every size: once, at the end.
  c.eval_every = 0
  network, c.init_from = BACKBONES[backbone]
  c.data = {
    'name': data,
    'data_dir': '~/tensorflow_datasets',
    'train': {'split': 'train'},
    'val': {'split': 'val'},
  }
  c.augment = {
    'base_size': scale,
    'cat_max_ratio': 0.75,
    'photometric': True,
    'pad_centred': False,
    'rotate_probability': 0.0,
    'blur_probability': 0.0,
  }
  c.model = {'align_corners': False, 'contract_dilation': True, **network}
  c.optimizer = {'base_lr': 0.01, 'min_lr': 1e-4, 'weight_decay': 5e-4, 'head_multiplier': 1.0}
  c.loss = {'avg_non_ignore': False}
  c.eval = {'protocol': 'mmseg', 'base_size': test_scale or scale}
  return c
