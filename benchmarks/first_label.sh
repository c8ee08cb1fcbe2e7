#!/bin/sh
# Measures the way from an empty environment to a labelled photograph with a packed network:
#
#     benchmarks/first_label.sh FOLDER PHOTO [SCRATCH]
#
# FOLDER is what `pspnet pack` wrote. Downloads go to SCRATCH/wheels first and are not counted: the
# two commands that follow are timed, and need no network. It says their seconds, the megabytes that
# are installed, and whether PyTorch or TensorFlow came with them. PYTHON=FILE chooses the
# interpreter.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
folder=$1 photo=$2 scratch=${3:-$(mktemp -d)}
python=$scratch/environment/bin/python
"${PYTHON:-python3}" -m venv --clear "$scratch/environment"
"$python" -m pip download -q -c "$root/constraints.txt" -d "$scratch/wheels" "$root" \
  'setuptools>=77'
rm -f "$scratch"/wheels/pspnet_jax-*

start=$(date +%s)
"$python" -m pip install -q -c "$root/constraints.txt" --no-index --find-links "$scratch/wheels" \
  "$root"
installed=$(date +%s)
"$scratch/environment/bin/pspnet" predict --workdir="$folder" --input="$photo" \
  --output="$scratch/out"
labelled=$(date +%s)

echo "pip install: $((installed - start)) s; pspnet predict: $((labelled - installed)) s"
echo "downloaded: $(du -sm "$scratch/wheels" | cut -f1) MB;" \
  "installed: $(du -sm "$scratch/environment" | cut -f1) MB"
for name in torch tensorflow; do
  if "$python" -c "import $name" 2> /dev/null; then echo "$name is there"; else echo "no $name"; fi
done
