# shellcheck shell=bash disable=SC2154  # mlipilot, which sources this, sets `container`
# What only the host can answer, sourced by mlipilot: Slurm's commands are not in the image, and no container can be
# started from within one. The toolkit there (mlipilot/programs.py) asks by files in a folder that both see:
#
#   questions        a pipe: one line with the question's NAME
#   NAME.question    words that end with NUL: how many seconds it may take, how many variables follow, these as
#                    NAME=VALUE, what the command is to read, and the command line
#   NAME.out .err    what it printed
#   NAME.status      how it ended, written last; `none`: there is no such command here, or it is not for this

# is_for_asking VERB COMMAND…: whether the command changes nothing. Two verbs are another matter: what `mlipilot doctor`
# tries of containers starts some of the image, as jobs do, and `mlipilot cancel` ends jobs by their numbers.
is_for_asking() {
  local verb=$1 word
  shift
  case $1 in
    sinfo | squeue | sacct) return 0 ;;
    scontrol | sacctmgr)
      for word in "${@:2}"; do
        case $word in
          -*) ;;
          show | list) return 0 ;;
          *) return 1 ;;
        esac
      done
      return 1
      ;;
    sbatch) [[ " ${*:2} " == *' --test-only '* ]] ;;
    scancel) [[ $verb == cancel && " ${*:2}" =~ ^(\ [0-9]+(_[0-9]+)?)+$ ]] ;;
    apptainer | singularity) [[ $verb == doctor && ${2-} =~ ^(--version|inspect|--silent|exec)$ ]] ;;
    *) return 1 ;;
  esac
}

answer() { # answer PATH VERB: the question at PATH.question
  local words=() command count status=none
  mapfile -d '' -t words <"$1.question"
  count=${words[1]:-}
  if [[ ${words[0]:-} =~ ^[0-9]{1,5}$ && $count =~ ^[0-9]{1,3}$ && -n ${words[count + 3]:-} ]]; then
    command=("${words[@]:count + 3}")
    if [[ ${command[0]} =~ ^(apptainer|singularity)$ ]]; then # which of them is here the image cannot know
      command[0]=$container
      only_own_containers # as in jobs
      no_proxies
    fi
    if is_for_asking "$2" "${command[@]}" && command -v "${command[0]}" >/dev/null; then
      printf '%s' "${words[count + 2]}" |
        timeout -k 2 "${words[0]}" env -- "${words[@]:2:count}" "${command[@]}" >"$1.out" 2>"$1.err"
      status=$?
    fi
  fi
  echo "$status" >"$1.new" && mv "$1.new" "$1.status"
}

answer_questions() { # answer_questions FOLDER VERB PID: for as long as that process lives; then the folder goes
  local name conf=${SLURM_CONF-}
  # shellcheck disable=SC2064  # the folder of now
  trap "rm -rf -- $(printf %q "$1")" EXIT
  trap exit TERM HUP
  # Within a job, that job's own settings would shape the answers.
  unset "${!SLURM_@}" "${!SBATCH_@}" "${!SRUN_@}" "${!SINFO_@}" "${!SACCT_@}" "${!SQUEUE_@}"
  [ -z "$conf" ] || export SLURM_CONF=$conf
  exec 9<>"$1/questions"
  while kill -0 "$3" 2>/dev/null; do
    read -r -t 2 -u 9 name && [[ $name =~ ^[0-9a-f]{16}$ ]] || continue
    answer "$1/$name" "$2" 9<&- &
  done
  wait
}
