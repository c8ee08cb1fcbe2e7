"""Every setting with its default."""

from __future__ import annotations

import ml_collections
from ml_collections import config_dict

from pspnet_jax.data.spec import IMAGENET_MEAN, IMAGENET_STD


def defaults() -> ml_collections.ConfigDict:
  """The paper's recipe (Zhao et al. 2017, section 4) for ADE20K-sized images."""
  c = ml_collections.ConfigDict()
  c.seed = 0
  # Weights to start from: a workdir, converted or not, a file, or the name of published weights;
  # a checkpoint in the run's own workdir goes first.
  c.init_from = config_dict.placeholder(str)
  c.batch_size = 16  # of all devices of all processes together
  c.total_steps = 150_000
  c.crop_size = (473, 473)  # height, width
  c.mean, c.std = IMAGENET_MEAN, IMAGENET_STD  # RGB, 0-255
  c.accumulation_steps = 1  # parts a batch is taken in, to save memory
  # Of the parameters' moving average; 0 keeps none. It is what is evaluated and predicted with,
  # beside the batch statistics of the parameters themselves, which are an average already.
  c.ema_decay = 0.0
  c.log_every = 50  # steps, as all that follow
  c.eval_every = 5_000  # 0: only at the end
  c.checkpoint_every = 1_000
  c.pictures = 4  # validation images shown in TensorBoard
  c.sampling = sampling = ml_collections.ConfigDict()  # see data/rare_classes.py
  sampling.rare_class_temperature = 0.0  # 0: off, every image once an epoch; DAFormer has 0.01
  sampling.rare_class_pixels = 3000  # of a class, from which on an image counts as one of it
  c.data_errors = 'raise'  # or 'skip': another example in place of one that cannot be used
  c.threads = 0  # that load and augment; 0: as many as there are cores

  c.data = ml_collections.ConfigDict()  # arguments of the source; see data/sources.py
  c.data.name = 'folder'
  c.data.train = ml_collections.ConfigDict({'split': 'train'})  # what differs between the splits
  c.data.val = ml_collections.ConfigDict({'split': 'val'})

  c.augment = augment = ml_collections.ConfigDict()  # semseg's; see data/augment.py
  augment.scale = (0.5, 2.0)
  augment.rotate = (-10.0, 10.0)  # degrees
  augment.rotate_probability = augment.blur_probability = augment.flip_probability = 0.5
  augment.base_size = config_dict.placeholder(tuple)  # mmseg's from here on: (2048, 512)
  augment.cat_max_ratio = 1.0  # 0.75
  augment.photometric = False  # True
  augment.pad_centred = True  # False

  c.model = model = ml_collections.ConfigDict()  # see models/pspnet.py
  model.depth = 50
  model.output_stride = 8
  model.dilations = config_dict.placeholder(tuple)  # of the stages; None: from output_stride
  model.stem_channels = (64, 64, 128)
  model.width = 64
  model.stride_in_1x1 = model.contract_dilation = model.dilate_conv2 = False
  model.remat = False  # less memory, a third more time: see models/resnet.py
  model.bins = (1, 2, 3, 6)
  model.pooling = 'avg'
  model.reduce_dimension = True
  model.pyramid_channels = config_dict.placeholder(int)
  model.head_channels = 512
  model.aux_head, model.aux_channels = True, 256
  model.dropout_rate, model.dropout_kind = 0.1, 'channel'
  model.align_corners = True
  model.dtype = 'float32'

  c.optimizer = optimizer = ml_collections.ConfigDict()  # see optim.py
  optimizer.base_lr, optimizer.power, optimizer.min_lr = 0.01, 0.9, 0.0
  optimizer.momentum, optimizer.weight_decay = 0.9, 1e-4
  optimizer.head_multiplier = 10.0
  optimizer.head_bias_multiplier = config_dict.placeholder(float)
  optimizer.decay_norm = optimizer.decay_bias = True

  c.aux_weight = 0.4
  c.loss = loss = ml_collections.ConfigDict()  # see losses.py
  loss.class_weights = ()  # one for each class; the data doctor suggests some
  loss.ohem_min_kept = 0  # online hard example mining: at least so many pixels an image; 0: off
  loss.ohem_threshold = 0.7  # and all whose class is given a lower probability
  loss.chunk_rows = 0  # rows of logits at a time, to save memory; 0: all of them

  c.eval = evaluation = ml_collections.ConfigDict()
  evaluation.protocol = 'plain'  # or semseg, caffe, mmseg, mmseg_slide; see protocol.py
  # What differs from the protocol; None: nothing.
  evaluation.base_size = config_dict.placeholder(tuple)  # (512,), or (2048, 1024) for mmseg's
  evaluation.scales = config_dict.placeholder(tuple)
  evaluation.window = config_dict.placeholder(tuple)  # height, width
  evaluation.whole_images = False  # no windows: compiles for every size of image
  evaluation.stride = config_dict.placeholder(float)  # of the window
  evaluation.flip = config_dict.placeholder(bool)
  evaluation.absent_classes = config_dict.placeholder(str)  # 'exclude' or 'zero'; see metrics.py
  evaluation.batch_size = 0  # windows at a time; 0: what suits the device
  evaluation.canvas_mb = 1024  # of an image's scores on the device; larger images: in tiles
  return c
