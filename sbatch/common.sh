# shellcheck shell=bash disable=SC2034  # `early` and `status` are read by who sources this
# What campaign.sh, endpoint.sh and job.sh all do on the host. The submitter puts it into the run, beside job.sh.

say() { printf '%(%FT%T%z)T %s\n' -1 "$*"; }
fail() { # the input is wrong
  say "$*"
  exit 2
}

load_modules() { # load_modules NAMES: the site's modules, separated by blanks
  local file
  [ -n "$1" ] || return 0
  set +u # the sites' own scripts are not written for it
  for file in /etc/profile.d/modules.sh /etc/profile.d/lmod.sh; do
    # shellcheck disable=SC1090  # which of them is there is the site's
    [ ! -r "$file" ] || source "$file"
  done
  # shellcheck disable=SC2086  # several names are several words
  module load $1
  set -u
}

# Slurm signals before a time limit and at scancel: the work in hand is asked to end, what follows it still happens.
early= # set once such a signal came
child= # the work in hand
end_early() {
  early=1
  [ -z "$child" ] || kill -TERM "$child" 2>/dev/null
}
trap end_early TERM USR2 INT

await_child() { # await_child PID: to its end, though signals interrupt the wait; sets `status`
  child=$1
  [ -z "$early" ] || kill -TERM "$child" 2>/dev/null # the signal was quicker than the child
  wait "$child"
  while kill -0 "$child" 2>/dev/null; do
    wait "$child"
  done
  wait "$child" # bash keeps the child's status; an interrupted wait gave the signal's
  status=$?
  child=
}
