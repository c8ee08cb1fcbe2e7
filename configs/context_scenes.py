"""A small PSPNet on generated scenes: learns in minutes on two CPU cores, downloads nothing.

python -m pspnet_jax.train --config=configs/context_scenes.py --workdir=/tmp/scenes
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
  return c
