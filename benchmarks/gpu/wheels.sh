#!/usr/bin/env bash
# Gather the wheels that a GPU machine without network lacks, into benchmarks/gpu/wheels (ignored by git).
# Expected there: Python 3.12 with pip, torch, transformers, accelerate, peft, pluggy, typer, rich, sympy, packaging,
# matplotlib, pytest, pytest-timeout and hypothesis. Versions are those of constraints.txt.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
folder=benchmarks/gpu/wheels
limit_mib=60
packages=(gymnasium Farama-Notifications cloudpickle pydantic pydantic_core annotated-types typing-inspection
  typing_extensions hatchling trove-classifiers pathspec tomlkit)
rm -rf "$folder"
mkdir -p "$folder"
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.12 \
  --implementation cp --abi cp312 --abi abi3 --abi none --platform manylinux_2_28_x86_64 \
  --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 --platform any \
  -c constraints.txt -d "$folder" "${packages[@]}"
size=$(du -sm "$folder" | cut -f1)
ls "$folder"
echo "$(ls "$folder" | wc -l) wheels, $size MiB in $folder"
if [ "$size" -ge "$limit_mib" ]; then
  echo "they take $size MiB, more than $limit_mib: remove some from this script" >&2
  exit 1
fi
