"""What the paper's networks have in common (Zhao et al. 2017, section 4; hszhao/PSPNet)."""

import ml_collections

# timm's, by depth: the stem is the paper's. Nobody has published a ResNet-269.
WEIGHTS = {depth: f'resnet{depth}s.gluon_in1k' for depth in (50, 101, 152)}


def base(data, steps, *, crop, base_size, split='train', depth=101, changes=None):
  """Returns the config of a data set.

  Args:
    data: name of the data set.
    steps: how many of 16 images; section 4.
    crop: side of the crop; the released prototxts.
    base_size: the longer side of an image in evaluation, before scaling.
    split: of the training images.
    depth: of the network.
    changes: values by their flattened names, laid over the rest.
  """
  c = ml_collections.ConfigDict()
  c.batch_size = 16
  c.total_steps = steps
  c.crop_size = (crop, crop)
  c.data = {
    'name': data,
    'data_dir': '~/tensorflow_datasets',
    'train': {'split': split},
    'val': {'split': 'val'},
  }
  c.augment = {'rotate_probability': 0.5, 'blur_probability': 0.5}  # not on Cityscapes
  c.model = {'depth': depth, 'dropout_kind': 'element'}
  c.optimizer = {
    'base_lr': 0.01,
    'weight_decay': 1e-4,
    'head_bias_multiplier': 20.0,
    'decay_norm': False,
  }
  c.eval = {'protocol': 'caffe', 'base_size': (base_size,)}
  c.update_from_flattened_dict(changes or {})
  if c.model.depth in WEIGHTS:
    c.init_from = WEIGHTS[c.model.depth]
  return c
