# shellcheck shell=bash
# Sourced by down.sh: which daemons are a test cluster's, and their end.

# daemons NAME [DIRECTORY]: the pids of the cluster in that directory, or of all that up.sh has started. They are known by
# what up.sh gave them in their environment: one that was started a moment ago may have no pid file yet, or none any more.
daemons() {
  local comm told name
  for comm in /proc/[0-9]*/comm; do
    { read -r name <"$comm"; } 2>/dev/null || continue # without a process for each: there are hundreds
    [ "$name" = "$1" ] || continue
    { told=$(tr '\0' '\n' <"${comm%comm}environ" | grep -a '^MLIPILOT_CLUSTER_DIR='); } 2>/dev/null || continue
    [ "${2:-${told#*=}}" != "${told#*=}" ] || basename "${comm%/comm}"
  done
}

end() { # end PID...: asked first, then killed
  local pid
  for pid in "$@"; do
    kill "$pid" 2>/dev/null || continue
    for _ in {1..100}; do
      kill -0 "$pid" 2>/dev/null || continue 2
      sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null || true
  done
}
