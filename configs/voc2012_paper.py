"""PSPNet-101 on PASCAL VOC 2012 as the paper trains it: table 6 of Zhao et al. 2017.

pspnet prepare --dataset=voc2012
pspnet train --config=voc2012_paper:table6-voc --workdir=/tmp/voc

pspnet prepare --dataset=coco_voc
pspnet train --config=voc2012_paper:table6-coco --workdir=table6-coco
pspnet train --config=voc2012_paper:table6-coco-aug --workdir=table6-coco-aug
pspnet train --config=voc2012_paper:table6-coco-voc --workdir=table6-coco-voc

Published: mIoU of the test images in percent, at six scales, which the benchmark's server gives.
Protocol: `caffe`, the evaluation code that the authors released (hszhao/PSPNet).

Sources: section 4 for the schedule and the augmentation, the released prototxts for the crop, the
rates of biases and normalisation, and dropout by elements. What differs: the ImageNet weights
(theirs were not published), the batch statistics' momentum (0.9; Caffe 0.95), and pixels are scaled
by their deviation, as the weights want them.

Left open by the paper: everything of the pretraining on COCO but that there is one, and whether
the validation images are trained on for the test. The chain here is GluonCV's, whose PSPNet-101 has
85.1 on the test images (psp_resnet101_coco.sh and psp_resnet101_voc.sh of its logs): COCO with a
rate of 0.01, then SBD's labels with 0.001, then VOC's own with 0.0001. The last two have the
paper's 30,000 steps; the first its longest schedule, 150,000, which is a choice of ours.
"""

import _paper

ROWS = {
  'table6-voc': {'title': 'VOC 2012 only', 'test': (82.6,), 'server': 'voc2012'},
  'table6-coco': {
    'title': 'pretraining on COCO',
    'changes': {'data.name': 'coco_voc', 'data.train.split': 'train', 'total_steps': 150_000},
  },
  'table6-coco-aug': {
    'title': "then SBD's labels",
    'changes': {'optimizer.base_lr': 1e-3},
    'after': 'table6-coco',
  },
  'table6-coco-voc': {
    'title': 'then VOC 2012: with COCO',
    'test': (85.4,),
    'changes': {'optimizer.base_lr': 1e-4, 'data.train.split': 'trainval'},
    'after': 'table6-coco-aug',
    'server': 'voc2012',
  },
}


def get_config(row):
  r = ROWS[row]
  changes = r.get('changes', {})
  c = _paper.base('voc2012', 30_000, crop=473, base_size=512, split='trainaug', changes=changes)
  if 'after' in r:
    c.init_from = r['after']  # the workdir, called as its row
  if c.data.train.split == 'trainval':
    c.eval_every = 0  # the images of val, which are trained on, tell no best step
  return c
