#!/usr/bin/env bash
# The checks and measurements that need a GPU, in under 10 minutes and without network:
#
#   benchmarks/gpu/wheels.sh                                  # once, where there is a network
#   benchmarks/gpu/run.sh [--output FOLDER] [--minutes 9.5]   # on the GPU machine
#   benchmarks/gpu/run.sh --rehearse --output FOLDER          # tiny sizes, CPU, in this environment
#
# Writes gpu.json and gpu.md into the folder, benchmarks/results by default. PYTHON names the interpreter.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
rehearse=no
for argument in "$@"; do
  [ "$argument" = --rehearse ] && rehearse=yes
done
if [ "$rehearse" = no ]; then
  site=$(mktemp -d)
  trap 'rm -rf "$site"' EXIT
  wheels=(benchmarks/gpu/wheels/*.whl)
  [ -e "${wheels[0]}" ] || { echo "benchmarks/gpu/wheels is empty: run benchmarks/gpu/wheels.sh first" >&2; exit 1; }
  install() { "$python" -m pip install --quiet --no-index --no-deps --no-compile --upgrade --target "$site" "$@"; }
  install "${wheels[@]}"
  PYTHONPATH="$site" install --no-build-isolation .  # fdiv-gym itself, so that its plugins are found
  export PYTHONPATH="$site" FDIV_GYM_CACHE="$site/cache"
fi
export HF_HUB_OFFLINE=1 FDIV_GYM_QUIET=1
export PYTHONPATH="$PWD/benchmarks${PYTHONPATH:+:$PYTHONPATH}"
"$python" benchmarks/gpu/measure.py "$@"
