# Sourced by the other scripts: one line per step, one clear sentence on failure, everything else in a log file.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
script=${0##*/}

fail() {
  echo "$script: $*" >&2
  exit 1
}

# step LOG "what it does" command...: runs quietly; on failure the end of the log, its path, and the same exit code.
step() {
  local log=$1 what=$2 start=$SECONDS status=0
  shift 2
  mkdir -p "$(dirname "$log")"
  if [[ -t 1 ]]; then printf '%s: %s ...' "$script" "$what"; fi
  "$@" >"$log" 2>&1 </dev/null || status=$?
  if [[ -t 1 ]]; then printf '\r\033[K'; fi
  if ((status)); then
    tail -n 40 "$log" >&2
    echo "$script: $what: failed with exit code $status; the whole log is $log" >&2
    exit "$status"
  fi
  echo "$script: $what: done in $((SECONDS - start)) s"
}

# Parallel jobs: as many as cores, fewer where a compiler job (about 2 GiB with LibTorch's headers) would not fit into memory.
parallel_jobs() {
  local cores memory
  cores=$(env -u OMP_NUM_THREADS nproc)  # nproc believes OMP_NUM_THREADS
  memory=$(awk '/^MemAvailable:/ {print int($2 / 2097152)}' /proc/meminfo)
  ((memory < 1)) && memory=1
  echo $((cores < memory ? cores : memory))
}
