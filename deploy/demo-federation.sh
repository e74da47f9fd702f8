#!/usr/bin/env bash
# A coordinator and two hospitals on this machine: every command that they would type, over TLS on loopback.
# Usage: deploy/demo-federation.sh [FOLDER]     (make demo-federation)
set -euo pipefail

folder=${1:-runs/demo-federation}
bin=${BIN:-.venv/bin}
bin=$(cd "$bin" && pwd)
port=$("$bin/python" -c 'from common.processes import free_port; print(free_port())')
pids=()

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
type_in() { printf '$ %s\n' "$*"; "$bin/$1" "${@:2}"; }
finish() {
  for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
}
trap finish EXIT

if [ -e "$folder" ]; then echo "$folder is there already; remove it or name another folder"; exit 2; fi
mkdir -p "$folder" && cd "$folder"

say "Two hospitals' archives (simulated mammograms)"
type_in xai-sim data tiny phantom.exams=20 --out hospitals > /dev/null

say "Coordinator: found the federation; a startup kit for each hospital"
type_in xai-server init demo --host 127.0.0.1 --listen 127.0.0.1 --port "$port" --sites MCS,TUH

for site in MCS TUH; do
  say "$site: make the key here, send the request, read the fingerprint out"
  type_in xai-client enrol "federation/kits/$site.kit.yaml" --site "$site" --data "hospitals/$site" | tee "$site.enrolled"
  say "Coordinator: compare the fingerprint and admit $site"
  fingerprint=$(awk '/^fingerprint/ {print $2}' "$site.enrolled")
  type_in xai-server enrol "sites/$site/$site.request.yaml" --fingerprint "$fingerprint"
done

say "Coordinator: serve. Hospitals: connect (each would be a service of its own, see deploy/)"
"$bin/xai-server" start > server.log 2>&1 & pids+=($!)
for site in MCS TUH; do "$bin/xai-client" --site "$site" > "$site.log" 2>&1 & pids+=($!); done
for _ in $(seq 120); do
  if "$bin/xai-client" --site MCS status > /dev/null && "$bin/xai-client" --site TUH status > /dev/null; then break; fi
  sleep 1
done
type_in xai-server sites

say "Coordinator: train three rounds"
type_in xai-server train --scenario tiny --name demo task=classifier method=fedavg rounds=3 sites=MCS,TUH quorum=2

say "TUH: what was asked of us, and what left?"
type_in xai-client --site TUH audit

say "The report: $folder/federation/runs/demo/report.html"
