"""PSPNet-50 on PASCAL VOC 2012 with SBD's labels after hszhao/semseg: 50 epochs in batches of 16.

pspnet prepare --dataset=voc2012 --data_dir=DIR
pspnet train --config=voc2012_pspnet50 --workdir=/tmp/voc2012 \
    --config.data.data_dir=DIR

Published: mIoU, mAcc and pixel accuracy of the validation images in percent, at one scale and at
six (semseg's README). Protocol: `semseg`.

Sources: config/voc2012 of hszhao/semseg. PSPNet-101 is --config=voc2012_pspnet50:101. The paper
trains for 30,000 steps: voc2012_paper. What differs: the ImageNet weights, timm's of the same
network; those of the repository lie in a shared folder (--config.init_from takes them,
docs/weights.md).
"""

import ml_collections

ROWS = {
  '50': {
    'ss': (77.05, 85.13, 94.89),
    'ms': (78.02, 85.80, 95.13),
  },
  '101': {
    'ss': (79.07, 86.36, 95.34),
    'ms': (79.63, 86.77, 95.50),
  },
}


def get_config(depth='50'):
  c = ml_collections.ConfigDict()
  c.batch_size = 16
  c.total_steps = 33_050  # 50 epochs of 10,582 images, each rest of a batch dropped
  c.crop_size = (473, 473)

  c.data = data = ml_collections.ConfigDict()
  data.name = 'voc2012'
  data.data_dir = '~/tensorflow_datasets'
  data.train = {'split': 'trainaug'}
  data.val = {'split': 'val'}

  c.init_from = f'resnet{depth}s.gluon_in1k'
  c.model = {'depth': int(depth)}
  c.optimizer = {'base_lr': 0.01, 'weight_decay': 1e-4}
  c.eval = {'protocol': 'semseg', 'base_size': (512,)}
  return c
