"""PSPNet-50 on Cityscapes' fine labels after hszhao/semseg: 200 epochs in batches of 16.

pspnet prepare --dataset=cityscapes --data_dir=DIR --manual_dir=ZIPS
pspnet train --config=cityscapes_pspnet50 --workdir=/tmp/cityscapes \
    --config.data.data_dir=DIR

Published: mIoU, mAcc and pixel accuracy of the validation images in percent, at one scale and at
six (semseg's README). Protocol: `semseg`.

Sources: config/cityscapes of hszhao/semseg. PSPNet-101 is --config=cityscapes_pspnet50:101. The
paper trains for 90,000 steps: cityscapes_paper. docs/data.md says which zips to download. What
differs: the ImageNet weights, timm's of the same network; those of the repository lie in a shared
folder (--config.init_from takes them, docs/weights.md).
"""

import ml_collections

ROWS = {
  '50': {
    'ss': (77.30, 84.31, 95.97),
    'ms': (78.38, 84.86, 96.17),
  },
  '101': {
    'ss': (78.63, 85.77, 96.14),
    'ms': (79.29, 85.91, 96.38),
  },
}


def get_config(depth='50'):
  c = ml_collections.ConfigDict()
  c.batch_size = 16
  c.total_steps = 37_000  # 200 epochs of 2,975 images, each rest of a batch dropped
  c.crop_size = (713, 713)

  c.data = data = ml_collections.ConfigDict()
  data.name = 'cityscapes'
  data.data_dir = '~/tensorflow_datasets'
  data.train = {'split': 'train'}
  data.val = {'split': 'val'}

  c.init_from = f'resnet{depth}s.gluon_in1k'
  c.model = {'depth': int(depth)}
  c.optimizer = {'base_lr': 0.01, 'weight_decay': 1e-4}
  c.eval = {'protocol': 'semseg', 'base_size': (2048,)}
  return c
