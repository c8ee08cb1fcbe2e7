"""PSPNet-101 on Cityscapes' fine and coarse labels together, with the paper's settings.

pspnet prepare --dataset=cityscapes --data_dir=DIR --manual_dir=ZIPS
pspnet prepare --dataset=cityscapes_coarse --data_dir=DIR --manual_dir=ZIPS
pspnet train --config=cityscapes_coarse_pspnet101 \
    --workdir=/tmp/cityscapes --config.data.data_dir=DIR --config.init_from=resnet101s.pth

The paper has 80.2 % mIoU on the test set with fine and coarse labels, and 78.4 % with the fine
ones alone (--config.data.train.split=train). It does not say how it mixes the two: here all 22,972
images are drawn alike, of which one in eight is finely labelled. What differs from semseg's
settings is the length, no rotation and blur, and Caffe's rates for biases and batch normalisation.
"""

import ml_collections


def get_config():
  c = ml_collections.ConfigDict()
  c.batch_size = 16
  c.total_steps = 90_000
  c.crop_size = (713, 713)

  c.data = data = ml_collections.ConfigDict()
  data.name = 'cityscapes'
  data.data_dir = '~/tensorflow_datasets'
  data.train = {'split': 'train+train_extra'}
  data.val = {'split': 'val'}

  c.augment = {'rotate_probability': 0.0, 'blur_probability': 0.0}
  c.model = {'depth': 101}
  c.optimizer = {
    'base_lr': 0.01,
    'weight_decay': 1e-4,
    'head_bias_multiplier': 20.0,
    'decay_norm': False,
  }
  c.eval = {'protocol': 'semseg', 'base_size': (2048,)}
  return c
