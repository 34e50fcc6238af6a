#!/usr/bin/env bash
# One study on several machines over ssh: a Dask scheduler and gpucv here, a worker process for
# every GPU of every host. Certificates are made for this run alone; all ends with this script.
#
#   OUT=/shared/runs/h3 scripts/launch/ssh.sh examples/h3-generalization.toml node1 node2
#   scripts/launch/ssh.sh --hosts hosts.txt --dry-run examples/h3-generalization.toml
#
# What follows `--` goes to `gpucv run`. OUT is the run folder, which the hosts see at the same path
# (or else an `execution.exchange`); where it holds a run already, that run is resumed. DEVICE=cpu
# takes their cores instead of their GPUs. HOST and PORT are where they reach this machine,
# FOLDS_PER_GPU how many folds share a GPU, BIN the folder of gpucv and dask, the same on all.
set -euo pipefail

usage() {
  echo "usage: ${0##*/} [--dry-run] [--hosts FILE] STUDY [HOST...] [-- options of gpucv run]" >&2
  exit 2
}
dry_run='' study='' hosts=()
while (($#)); do
  case $1 in
    --dry-run) dry_run=1 ;;
    --hosts)
      mapfile -t listed < <(grep -Ev '^[[:space:]]*(#|$)' "${2:?--hosts names a file}")
      hosts+=("${listed[@]}")
      shift
      ;;
    --) break ;;
    -*) usage ;;
    *) if [[ -z $study ]]; then study=$1; else hosts+=("$1"); fi ;;
  esac
  shift
done
if [[ -z $study ]] || ((${#hosts[@]} == 0)); then usage; fi
shift $(($# > 0)) # the `--`
[[ -r $study ]] || { echo "cannot read the study '$study' from $PWD" >&2; exit 2; }

bin=${BIN:-$PWD/.venv/bin}
device=${DEVICE:-cuda}
port=${PORT:-8786}
host=${HOST:-$("$bin/python" -c 'from distributed.utils import get_ip; print(get_ip())')}
address=tls://$host:$port
folder=$(mktemp -d)
pem=$folder/tls.pem

key=("$bin/gpucv" certificate "$pem")
scheduler=("$bin/dask" scheduler --host "$host" --port "$port" --protocol tls --no-dashboard
  --dashboard-address 127.0.0.1:0 --tls-ca-file "$pem" --tls-cert "$pem" --tls-key "$pem")
client=(run "$study" ${OUT:+--out "$OUT"} "$@")
[[ -e ${OUT:-/nowhere}/manifest.json ]] && client=(resume "$OUT")
client=("$bin/gpucv" "${client[@]}" --scheduler "$address" --device "$device")

worker=("$bin/dask" worker)
[[ $device == cpu ]] || worker=("$bin/dask" cuda worker --nthreads "${FOLDS_PER_GPU:-4}"
  --device-memory-limit 0 --pre-import "cudf,xgboost")
worker+=("$address" --protocol tls --no-dashboard --dashboard-address 127.0.0.1:0
  --death-timeout 60 --memory-limit 0)
# On a host: the key comes as the first line of stdin and lies in a folder of its own. The rest of
# stdin is empty and ends with the connection, however that is lost; then the workers end too.
remote="set -eu; umask 077; read -r key; folder=\$(mktemp -d); worker= guard=
trap 'kill \$worker \$guard 2>/dev/null; wait \$worker; rm -rf \"\$folder\"' EXIT
trap 'exit 143' TERM
printf %s \"\$key\" | base64 -d >\"\$folder/tls.pem\"; cd \"\$folder\"; exec 3<&0
export DASK_LOGGING__DISTRIBUTED=warning
$(printf '%q ' "${worker[@]}") --tls-ca-file tls.pem --tls-cert tls.pem --tls-key tls.pem \
--local-directory \"\$folder\" </dev/null & worker=\$!
{ cat <&3; kill \$worker; } >/dev/null 2>&1 & guard=\$!
wait \$worker"
login=(ssh -o BatchMode=yes --)
remotely="bash -c $(printf %q "$remote")"

if [[ -n $dry_run ]]; then
  rmdir "$folder"
  printf '%q ' "${key[@]}" && echo
  printf '%q ' "${scheduler[@]}" && echo
  for name in "${hosts[@]}"; do echo "${login[*]} $name:" && echo "$remote"; done
  printf '%q ' "${client[@]}" && echo
  exit 0
fi

pids=() pid=''
# The scheduler first: workers then end by themselves, without complaint.
trap 'set +e; for pid in "${pids[@]}"; do kill "$pid"; wait "$pid"; done 2>/dev/null
rm -rf "$folder"' EXIT
trap 'exit 143' INT TERM

export DASK_LOGGING__DISTRIBUTED=warning DASK_DISTRIBUTED__COMM__TLS__CA_FILE=$pem
export DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT=$pem DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY=$pem
"${key[@]}" >/dev/null
"${scheduler[@]}" &
pids+=($!)
for name in "${hosts[@]}"; do
  "${login[@]}" "$name" "$remotely" \
    < <(base64 -w0 "$pem" && echo && exec tail --pid=$$ -f /dev/null 2>/dev/null) &
  pids+=($!)
done
# Folds are laid out over the workers that are there when gpucv asks.
"$bin/python" -c 'import sys; from distributed import Client
Client(sys.argv[1], timeout=60).wait_for_workers(int(sys.argv[2]), timeout=60)' \
  "$address" "${#hosts[@]}" || echo "not every host has a worker; going on with those here" >&2

"${client[@]}" &
running=$!
pids=("$running" "${pids[@]}")
trap 'kill -TERM "$running" 2>/dev/null' INT TERM
code=0
wait "$running" || code=$?
while kill -0 "$running" 2>/dev/null; do # a signal ended the wait, not yet the client
  code=0
  wait "$running" || code=$?
done
exit "$code"
