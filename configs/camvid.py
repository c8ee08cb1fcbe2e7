"""A small PSPNet on CamVid's street scenes, from scratch, on two CPU cores.

367 training and 101 validation frames of 360×480 in 11 classes (Brostow et al. 2009, in the split
of the SegNet tutorial), laid out as images/{train,val}/NAME.jpg and labels/{train,val}/NAME.png
with 11 = unlabelled.

pspnet train --config=camvid --workdir=/tmp/camvid \
    --config.data.root=PATH_TO_CAMVID

pspnet prepare --dataset=camvid downloads and lays them out by itself, for
--config=camvid:prepared, with the test frames and without JPEG in between.

Result: validation mIoU 42.7 %, pixel accuracy 86.6 %, road 92.1 % (seed 0), in 8 to 15 minutes;
with seeds 1 and 2 the mIoU is 40.9 and 45.0 % (python -m benchmarks.camvid).
"""

import ml_collections

CLASSES = {
  'sky': (128, 128, 128),
  'building': (128, 0, 0),
  'pole': (192, 192, 128),
  'road': (128, 64, 128),
  'pavement': (0, 0, 192),
  'tree': (128, 128, 0),
  'sign': (192, 128, 128),
  'fence': (64, 64, 128),
  'car': (64, 0, 128),
  'pedestrian': (64, 64, 0),
  'bicyclist': (0, 128, 192),
}


def get_config(source='folder'):
  if source not in ('folder', 'prepared'):
    raise ValueError(f'{source!r} is no argument of this file: give folder or prepared')
  c = ml_collections.ConfigDict()
  c.batch_size = 8
  c.total_steps = 1_200
  c.crop_size = (225, 305)
  c.log_every = 20
  c.eval_every = 0
  c.checkpoint_every = 100

  c.data = data = ml_collections.ConfigDict()
  if source == 'prepared':
    data.name = 'camvid'
    data.data_dir = '~/tensorflow_datasets'
  else:
    data.name = 'folder'
    data.root = 'camvid'
    data.class_names = tuple(CLASSES)
    data.palette = tuple(CLASSES.values())
    data.ignore_ids = (11,)
  data.train = {'split': 'train'}
  data.val = {'split': 'val'}

  c.augment = {'scale': (0.5, 1.5), 'rotate_probability': 0.0, 'blur_probability': 0.0}
  c.model = {
    'depth': 18,
    'stem_channels': (16, 16, 32),
    'width': 16,
    'head_channels': 64,
    'aux_channels': 32,
  }
  c.optimizer = {'base_lr': 0.05, 'head_multiplier': 1.0, 'weight_decay': 5e-4}
  c.eval = {'whole_images': True}
  return c
