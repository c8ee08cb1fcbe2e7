"""Logits of PaddleSeg's or GluonCV's own network, by an interpreter that has their framework.

  PYTHON tests/weights/foreign_logits.py KIND CHECKOUT FOLDER DEPTH CLASSES

reads what `python -m tests.weights.elsewhere write` has put into FOLDER, and writes logits.npz. It
imports nothing of ours. KIND is paddleseg (paddlepaddle, and what its package imports) or gluoncv
(mxnet 1.9 on Python 3.8, of whose package only the model files are read); CHECKOUT the repository.
"""

import sys
import types
from pathlib import Path

import numpy as np


def paddleseg(folder, depth, classes, image):
  import paddle
  from paddleseg.models.backbones.resnet_vd import ResNet_vd
  from paddleseg.models.pspnet import PSPNet

  paddle.set_device('cpu')
  state = paddle.load(str(folder / 'model.pdparams'))
  for dtype in ('float32', 'float64'):
    paddle.set_default_dtype(dtype)
    network = PSPNet(classes, ResNet_vd(depth, output_stride=8))
    assert set(network.state_dict()) == set(state)
    network.set_state_dict({name: np.asarray(x).astype(dtype) for name, x in state.items()})
    network.eval()
    if dtype == 'float32':
      for protocol in (2, 4):
        paddle.save(network.state_dict(), str(folder / f'saved{protocol}.pdparams'), protocol)
    x = ((image / 255.0 - 0.5) / 0.5).transpose(2, 0, 1)[None].astype(dtype)
    with paddle.no_grad():
      yield network(paddle.to_tensor(x))[0].numpy()


def gluoncv(folder, depth, classes, image):
  import mxnet as mx
  from gluoncv.model_zoo.pspnet import PSPNet

  mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
  for dtype in ('float32', 'float64'):
    network = PSPNet(classes, backbone=f'resnet{depth}', aux=True, pretrained_base=False)
    network.load_parameters(str(folder / 'psp.params'), ctx=mx.cpu())
    if dtype == 'float32':
      network.save_parameters(str(folder / 'saved.params'))
    network.cast(dtype)
    x = ((image / 255.0 - mean) / std).transpose(2, 0, 1)[None].astype(dtype)
    yield network.predict(mx.nd.array(x, dtype=dtype)).asnumpy()


def only_models(checkout):
  """Makes the package of GluonCV importable without all that its `__init__` imports."""
  for name in ('gluoncv', 'gluoncv.model_zoo', 'gluoncv.utils', 'gluoncv.utils.parallel'):
    module = sys.modules[name] = types.ModuleType(name)
    module.__path__ = [str(checkout / name.replace('.', '/'))]
  module.parallel_apply = module.tuple_map = None


def main(kind, checkout, folder, depth, classes):
  checkout, folder = Path(checkout), Path(folder)
  sys.path.insert(0, str(checkout))
  if kind == 'gluoncv':
    only_models(checkout)
  image = np.load(folder / 'image.npy')
  network = {'paddleseg': paddleseg, 'gluoncv': gluoncv}[kind]
  found = network(folder, int(depth), int(classes), image)
  logits = {x.dtype.name: x[0].transpose(1, 2, 0) for x in found}
  np.savez(folder / 'logits.npz', **logits)


if __name__ == '__main__':
  main(*sys.argv[1:])
