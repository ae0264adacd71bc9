# shellcheck shell=bash disable=SC2034  # who sources this reads `container`, `digest` and the options
# The program that runs images, what keeps a container apart, and whether an image is the one that was meant: sourced by
# common.sh, which the submitter puts into the run, and by containers/build.sh.

find_container() { # sets `container`: Apptainer, or SingularityCE where a host has that instead
  for container in apptainer singularity; do
    ! command -v "$container" >/dev/null || return 0
  done
  return 1
}

# The options by which a container is kept apart: for scripts they stand here and nowhere else, as for Python in
# mlipilot/jobs/container_commands.py. tests/test_isolation_flags.py holds the two to each other and finds any third.
apart=(--containall --cleanenv --no-home --no-eval --no-mount "home,cwd,hostfs,bind-paths")
apart_but_home=(--containall --cleanenv --no-eval --no-mount "cwd,hostfs,bind-paths") # with a home of its own, for caches
apart_by_environment=(--cleanenv --no-eval) # what a user may see of this host, it sees

give_inside() { # give_inside NAME VALUE: a variable for the containers that are started from here on
  export "${container^^}ENV_$1=$2"
}

# ---- The SHA-256 of an image, which is read once a node and boot ------------------------------------------------
# What was read is remembered on the node, with what the kernel (or the file server) says of the file. Whoever writes
# into a file or puts another one in its place changes the time of change (ctime) or the inode, and only root or a
# clock that was set back can undo that. The memory is trusted only where nobody but this account can have written it.

find_memory() { # sets `memory`, a directory of this node
  local base=/tmp owner mode kind
  [[ ${XDG_RUNTIME_DIR:-} != /* || ! -d $XDG_RUNTIME_DIR ]] || base=$XDG_RUNTIME_DIR
  memory=$base/mlipilot-$EUID
  mkdir -m 700 -- "$memory" 2>/dev/null
  # Nobody else can have put it there: the place is root's or ours, and others cannot rename what is in it.
  read -r owner mode < <(stat -L -c '%u %a' -- "$base" 2>/dev/null) || return
  [[ $owner == 0 || $owner == "$EUID" ]] && (((8#$mode & 8#22) == 0 || (8#$mode & 8#1000))) || return
  read -r owner mode kind < <(stat -c '%u %a %F' -- "$memory" 2>/dev/null) # not what a link there leads to
  [[ "$owner $mode $kind" == "$EUID 700 directory" ]]
}

# facts_of FILE: sets `facts` and `changed_s`, its time of change. It is opened for this, as only then some file systems
# ask their server.
facts_of() {
  local boot size modified changed inode device
  read -r boot </proc/sys/kernel/random/boot_id || return
  read -r size modified changed inode device < <(stat -L -c '%s %.9Y %.9Z %i %d' - <"$1") || return
  [[ $device =~ ^[0-9]+$ ]] || return
  facts="boot=$boot size=$size mtime=$modified ctime=$changed inode=$inode device=$device path=$1"
  changed_s=${changed%%.*} entry=$device-$inode
}

sha256_of_image() { # sha256_of_image FILE ALWAYS: sets `digest`. ALWAYS=1: the file is read whatever is remembered
  local memory='' facts='' changed_s='' entry='' before lines=() now
  if { [ "${2:-}" = 1 ] || ! find_memory || ! facts_of "$1"; } 2>/dev/null; then
    memory=
  elif { mapfile -t lines <"$memory/$entry"; } 2>/dev/null &&
    [[ ${lines[0]:-} == "$facts" && ${lines[1]:-} =~ ^[0-9a-f]{64}$ ]]; then
    digest=${lines[1]}
    return 0
  fi
  before=$facts
  digest=$(sha256sum <"$1") || return
  digest=${digest%% *}
  [ -n "$memory" ] && facts_of "$1" 2>/dev/null && [ "$facts" = "$before" ] || return 0
  # In the very moment of a change a second one could leave the same times.
  printf -v now '%(%s)T' -1
  ((now - changed_s > 2)) || return 0
  (umask 077 && printf '%s\n' "$facts" "$digest" >"$memory/$entry.$$" && mv -f -- "$memory/$entry.$$" "$memory/$entry") 2>/dev/null
  return 0 # where there is no room for it, the next one reads the file again
}
