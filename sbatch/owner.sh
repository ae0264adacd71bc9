# shellcheck shell=bash disable=SC2154  # `run`, `script` and `lineage` are campaign.sh's, and so is `say`
# Who carries the lineage, sourced by campaign.sh: in its container the controller cannot ask Slurm whether the
# one before it, which did not let go, is over. So that is asked here. The claims are mlipilot/audit/claims.py's.

this=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}}
this=${this:-${SLURM_JOB_ID:?this script runs as a Slurm job}}
ended= # the job that claims the lineage, once Slurm says that it is over

read_claim() { # sets `owner` and `owner_cluster`: the job of the claim in force, empty where it is of none
  local claims=("$run/lineage-$lineage/controller"/[0-9]*.json) text=
  { text=$(<"${claims[-1]}"); } 2>/dev/null
  owner='' owner_cluster=''
  [[ ! $text =~ \"id\":\ *\"([0-9]+(_[0-9]+)?)\" ]] || owner=${BASH_REMATCH[1]}
  [[ ! $text =~ \"cluster\":\ *\"([^\"]*)\" ]] || owner_cluster=${BASH_REMATCH[1]}
}

ask_slurm() { # sets `state`: the owner's, empty when it is over. Fails unless Slurm tells of this job as well
  local said line listed=
  said=$(unset "${!SQUEUE_@}" SLURM_CLUSTERS && timeout 60 squeue -h -a -r -j "$owner,$this" -o '%i|%T' 2>/dev/null) || return
  state=
  while IFS= read -r line; do
    [[ $line != "$this|"* ]] || listed=1
    [[ $line != "$owner|"* ]] || state=${line#*|}
  done < <(printf "%s\n" "$said")
  [ -n "$listed" ]
}

judge_owner() { # end here if another job carries the lineage, or may do so
  local try state=
  read_claim
  if [ "$owner" = "$this" ]; then
    ended=$owner # requeued: Slurm has ended the earlier start (Job.is_later_start_of)
  fi
  [ -n "$owner" ] && [ -z "$ended" ] || return 0
  for try in 1 2 3; do
    [ "${owner_cluster:-${SLURM_CLUSTER_NAME:-}}" = "${SLURM_CLUSTER_NAME:-}" ] || break
    if ask_slurm; then
      case $state in
        '')
          ended=$owner
          return
          ;;
        COMPLETING) ;; # about to be over
        *)
          say "job $owner carries lineage $lineage of $run already: it is $state. Nothing to do here"
          exit 0
          ;;
      esac
    fi
    [ "$try" = 3 ] || sleep "$MLIPILOT_POLL_S"
  done
  say "lineage $lineage of $run is held by job $owner${owner_cluster:+ of cluster $owner_cluster}, and Slurm" \
    "does not say that it is over${state:+ but $state}: sbatch $script again later, or see \`mlipilot unlock\`"
  exit 75
}

tell_controller() { # what Slurm would have told it outside a container
  give_inside MLIPILOT_CONTROLLER_JOB "$this"
  give_inside MLIPILOT_ENDED_JOB "$ended"
  give_inside SLURM_RESTART_COUNT "${SLURM_RESTART_COUNT:-0}"
  give_inside SLURM_CLUSTER_NAME "${SLURM_CLUSTER_NAME:-}"
}
