"""A small PSPNet on generated scenes: learns in two minutes on two CPU cores, downloads nothing.

pspnet train --config=context_scenes --workdir=/tmp/scenes

Result: mIoU 87.6, 88.1, 87.3 % for seeds 0, 1, 2; boat and car together 84.8, 84.4, 84.5 %.
Without the pyramid (--config.model.bins='()'): 77.2, 76.7, 76.3 %; boat and car 26.4, 22.0, 26.0 %.
"""

import ml_collections


def get_config():
  c = ml_collections.ConfigDict()
  c.batch_size = 8
  c.total_steps = 300
  c.crop_size = (193, 193)
  c.log_every = 20
  c.eval_every = 0
  c.checkpoint_every = 100

  c.data = {'name': 'context_scenes', 'size': (193, 193)}
  c.augment = {
    'scale': (1.0, 1.0),
    'rotate_probability': 0.0,
    'blur_probability': 0.0,
    'flip_probability': 0.5,
  }
  c.model = {
    'depth': 10,
    'stem_channels': (16, 16, 32),
    'width': 16,
    'head_channels': 64,
    'aux_channels': 32,
  }
  c.optimizer = {'base_lr': 0.05, 'head_multiplier': 1.0}
  c.eval = {'whole_images': True}
  return c
