# shellcheck shell=bash
# What a candidate's code will see: runs in a container that is started as the candidate's is, before any of its code
# (`bash -p -s HOST PATH… <measure.sh`), and prints one line a finding, which mlipilot/jobs/measured.py reads. HOST is
# the inode of the host's network namespace, a PATH is what the job is given. Of variables it tells the names alone.
# Exit status: 0 cut off from the network, 9 not. It needs bash and stat, which an image of any kind has.
set -u
export LC_ALL=C
host=${1:-}
shift

tell_mounts() {
  local line
  while IFS= read -r line; do printf 'mount %s\n' "$line"; done </proc/self/mountinfo
}

tell_variables() { # as this shell was given them; and those that the image itself sets
  local entry name line file
  while IFS= read -r -d '' entry; do
    name=${entry%%=*}
    printf 'variable %s\n' "${name//[!A-Za-z0-9_]/?}"
  done </proc/self/environ
  for file in /.singularity.d/env/*.sh; do
    [ -r "$file" ] || continue
    while read -r line; do
      [[ ! $line =~ ^(export[[:blank:]]+)?([A-Za-z_][A-Za-z0-9_]*)= ]] || printf 'image %s\n' "${BASH_REMATCH[2]}"
    done <"$file"
  done
}

has_own_namespace() { # one in which there is no way out
  local inside name
  inside=$(stat -Lc %i /proc/self/ns/net) || return
  [[ $host =~ ^[0-9]+$ && $inside =~ ^[0-9]+$ && $inside != "$host" ]] || return
  while read -r name _; do
    case $name in lo:* | Inter-* | face) ;; *) return 1 ;; esac
  done </proc/net/dev
}

makes_no_socket() { # a filter of system calls is in force, and refuses those
  local key mode said address
  while read -r key mode; do [ "$key" = Seccomp: ] && break; done </proc/self/status
  [ "$mode" = 2 ] || return
  for address in tcp/127.0.0.1 udp/127.0.0.1 tcp/::1; do
    said=$({ exec 3<>"/dev/$address/9"; } 2>&1)
    [[ $said == *': socket: '* ]] || return # else it is of `connect`, or there is nothing to say
  done
}

tell_mounts
tell_variables
[ $# = 0 ] || stat -c 'bind %d:%i %n' -- "$@"
status=0
if has_own_namespace; then
  echo 'network namespace'
elif makes_no_socket; then
  echo 'network seccomp'
else
  echo 'network host'
  status=9
fi
echo 'measured'
exit $status
