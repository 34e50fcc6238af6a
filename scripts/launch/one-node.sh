#!/usr/bin/env bash
# One study on every GPU of this machine, one worker process per GPU.
#
#   scripts/launch/one-node.sh examples/h3-generalization.toml --out runs/h3
#
# What follows the study goes to `gpucv run`. DEVICE=cpu takes the cores instead, DEVICE=cuda:1
# that GPU alone. BIN is the folder of gpucv and dask, .venv/bin unless set.
set -euo pipefail

(($#)) || { echo "usage: ${0##*/} STUDY [options of gpucv run]" >&2; exit 2; }
bin=${BIN:-.venv/bin}

# A fault of driver, libraries or disk is told here, in seconds, with what mends it.
"$bin/gpucv" doctor >&2
exec "$bin/gpucv" run "$@" --device "${DEVICE:-cuda}"
