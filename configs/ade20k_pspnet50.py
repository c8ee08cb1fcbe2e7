"""PSPNet-50 on ADE20K (SceneParse150) after hszhao/semseg: 100 epochs in batches of 16.

pspnet prepare --dataset=ade20k --data_dir=DIR
pspnet train --config=ade20k_pspnet50 --workdir=/tmp/ade20k \
    --config.data.data_dir=DIR --config.init_from=resnet50s.pth

Published: mIoU, mAcc and pixel accuracy of the validation images in percent, at one scale and at
six (semseg's README). Protocol: `semseg`.

Sources: config/ade20k of hszhao/semseg. PSPNet-101 is --config=ade20k_pspnet50:101. The paper
trains for 150,000 steps: ade20k_paper. docs/weights.md says which ImageNet weights
--config.init_from takes; those of the repository lie in a shared folder.
"""

import ml_collections

ROWS = {
  '50': {
    'ss': (41.89, 52.27, 80.39),
    'ms': (42.84, 52.66, 81.06),
    'weights': 'resnet50s.gluon_in1k',
  },
  '101': {
    'ss': (43.10, 53.75, 81.07),
    'ms': (44.15, 54.26, 81.72),
    'weights': 'resnet101s.gluon_in1k',
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

  c.model = {'depth': int(depth)}
  c.optimizer = {'base_lr': 0.01, 'weight_decay': 1e-4}
  c.eval = {'protocol': 'semseg', 'base_size': (512,)}
  return c
