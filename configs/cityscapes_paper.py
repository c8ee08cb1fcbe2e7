"""PSPNet-101 on Cityscapes as the paper trains it: table 7 of Zhao et al. 2017.

pspnet prepare --dataset=cityscapes --manual_dir=ZIPS
pspnet prepare --dataset=cityscapes_coarse --manual_dir=ZIPS
pspnet train --config=cityscapes_paper:table7-coarse --workdir=/tmp/cityscapes

Published: mIoU of the test images in percent, which the benchmark's server gives, and of the
network that the authors released mIoU and pixel accuracy of the validation images, at one scale and
at six. Protocol: `caffe`, their evaluation code (hszhao/PSPNet).

Sources: section 4 for the schedule and the augmentation, which neither turns nor blurs here; the
released prototxts for the crop, the rates of biases and normalisation, and dropout by elements.
What differs: the ImageNet weights (theirs were not published), the batch statistics' momentum (0.9;
Caffe 0.95), and pixels are scaled by their deviation, as the weights want them.

Left open by the paper: how fine and coarse labels are mixed (here all 22,972 images are drawn
alike, of which one in eight is finely labelled), and whether the validation images are trained on
for the test (here they are not).
"""

import _paper

ROWS = {
  'table7-fine': {
    'title': 'fine labels',
    'ss': (79.70, 96.38),
    'ms': (80.91, 96.59),
    'test': (78.4,),
    'server': 'cityscapes',
  },
  'table7-coarse': {
    'title': 'fine and coarse labels',
    'test': (80.2,),
    'changes': {'data.train.split': 'train+train_extra'},
    'server': 'cityscapes',
  },
}


def get_config(row):
  changes = ROWS[row].get('changes', {})
  c = _paper.base('cityscapes', 90_000, crop=713, base_size=2048, changes=changes)
  c.augment.update(rotate_probability=0.0, blur_probability=0.0)
  return c
