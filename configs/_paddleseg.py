"""What the PSPNets of PaddlePaddle/PaddleSeg have in common (configs/pspnet, configs/_base_)."""

import ml_collections

# Distilled ResNets of PaddleClas, by depth.
WEIGHTS = {50: 'resnet50_vd_ssld_v2', 101: 'resnet101_vd_ssld'}
GREY = (127.5, 127.5, 127.5)  # Normalize's default; images are padded with it, too


def base(data, depth, steps, *, batch_size, crop_size):
  """Returns the config of a data set: `steps` steps of `batch_size` images on four GPUs."""
  c = ml_collections.ConfigDict()
  c.batch_size = batch_size
  c.total_steps = steps
  c.crop_size = crop_size
  c.eval_every = steps // 10
  c.mean, c.std = GREY, GREY
  c.init_from = WEIGHTS[depth]
  c.data = {
    'name': data,
    'data_dir': '~/tensorflow_datasets',
    'train': {'split': 'train'},
    'val': {'split': 'val'},
  }
  c.augment = {
    'scale_step': 0.25,
    'jitter': 0.4,
    'pad_centred': False,
    'rotate_probability': 0.0,
    'blur_probability': 0.0,
  }
  c.model = {
    'depth': depth,
    'stem_channels': (32, 32, 64),
    'avg_down': True,
    'align_corners': False,
    'head_channels': 1024,
    'dropout_kind': 'element',
  }
  c.optimizer = {'base_lr': 0.01, 'weight_decay': 4e-5, 'head_multiplier': 1.0}
  return c
