"""PSPNet-50 on ADE20K (SceneParse150) after hszhao/semseg: 100 epochs in batches of 16.

pspnet prepare --dataset=ade20k --data_dir=DIR
pspnet train --config=ade20k_pspnet50 --workdir=/tmp/ade20k \
    --config.data.data_dir=DIR --config.init_from=resnet50s.pth

semseg's published validation mIoU, mAcc and pixel accuracy, at one scale and at six:

    PSPNet-50    41.89  52.27  80.39    42.84  52.66  81.06
    PSPNet-101   43.10  53.75  81.07    44.15  54.26  81.72

PSPNet-101 is --config=ade20k_pspnet50:101. The paper trains for 150,000 steps
(--config.total_steps=150000) and has 41.68 and 42.78 % mIoU with 50 layers, 41.96 and 43.29 % with
101. docs/weights.md says which ImageNet weights --config.init_from takes.
"""

import ml_collections

# mIoU, mAcc and pixel accuracy: semseg's README.
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
