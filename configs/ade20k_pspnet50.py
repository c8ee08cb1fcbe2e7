"""PSPNet-50 on ADE20K (SceneParse150) after hszhao/semseg: 100 epochs in batches of 16.

pspnet prepare --dataset=ade20k --data_dir=DIR
pspnet train --config=ade20k_pspnet50 --workdir=/tmp/ade20k \
    --config.data.data_dir=DIR

Published: mIoU, mAcc and pixel accuracy of the validation images in percent, at one scale and at
six (semseg's README). Protocol: `semseg`.

Sources: config/ade20k of hszhao/semseg. PSPNet-101 is --config=ade20k_pspnet50:101. The paper
trains for 150,000 steps: ade20k_paper. What differs: the ImageNet weights, timm's of the same
network; those of the repository lie in a shared folder (--config.init_from takes them,
docs/weights.md).
"""

import ml_collections

ROWS = {
  '50': {
    'ss': (41.89, 52.27, 80.39),
    'ms': (42.84, 52.66, 81.06),
  },
  '101': {
    'ss': (43.10, 53.75, 81.07),
    'ms': (44.15, 54.26, 81.72),
  },
}


def get_config(depth='50'):
  c = ml_collections.ConfigDict()
  c.batch_size = 16
  c.total_steps = 126_300  # 100 epochs of 20,210 images, each rest of a batch dropped
  c.crop_size = (473, 473)
  c.eval_every = 20_000  # 2,000 images in overlapping windows take a while

  c.data = data = ml_collections.ConfigDict()
  data.name = 'ade20k'
  data.data_dir = '~/tensorflow_datasets'
  data.train = {'split': 'train'}
  data.val = {'split': 'val'}

  c.init_from = f'resnet{depth}s.gluon_in1k'
  c.model = {'depth': int(depth)}
  c.optimizer = {'base_lr': 0.01, 'weight_decay': 1e-4}
  c.eval = {'protocol': 'semseg', 'base_size': (512,)}
  return c
