#!/bin/sh
# Measures what is worth knowing of a new GPU, by one command, in at most 25 minutes:
#
#     benchmarks/first_hour.sh [--json=FILE]
#
# It needs jax (with the device's plugin), flax, optax, orbax-checkpoint, torch, numpy and OpenCV, a
# checkout of this repository, and no network. Figures go to first_hour.json as they come; then
# `python -m benchmarks.first_hour --page=first_hour.json` prints a page of them.
#
# The plan, in minutes at most:
#
#    2    parity                 errors of logits, loss and gradients against float64
#    3.5  training, PSPNet-50    beside PyTorch: eager, channels_last, torch.compile, with AMP
#    1    losses                 forms of the loss: time and memory
#    1.5  dilation               dilated convolutions: forward and backward
#    1    profile                a step's longest operations
#    1.5  fed training           the loader's share of a step
#    4.5  two starts             whether they compute the same bits, with config.deterministic too
#    2.5  inference, PSPNet-50   beside PyTorch
#    4.5  training, PSPNet-101   beside PyTorch
#    3    evaluation             150 classes, beside semseg's loop
#
# PYTHON=FILE chooses the interpreter.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONPATH
exec "${PYTHON:-python3}" -m benchmarks.first_hour "$@"
