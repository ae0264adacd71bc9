# shellcheck shell=bash disable=SC2034,SC2154  # campaign.sh sources this, with owner.sh and successor.sh
# No core is held while only jobs are waited for: the controller has ended, with status 79, and left their numbers and
# names in spool/waiting. The successor is to wait for any of them, instead of for this job's end.
#
# Whatever ends this job on the way, somebody goes on. Until it has another dependency the successor waits for this job;
# then it begins with the first of the jobs that ends, or at once where one has ended already. By that time the lineage
# is nobody's, so that it may begin though this job has not quite ended.

handed_back=79
awaited=() # numbers of the jobs

hand_back() { # fails where this job is to go on
  local number name wanted='' state='' dependency='' listed=' ' why
  awaited=()
  while read -r number name; do
    [[ $number =~ ^[1-9][0-9]{0,9}$ && $name == mlp-* ]] || return
    awaited+=("$number") wanted+="${wanted:+?}afterany:$number"
  done <"$run/spool/waiting/lineage-$lineage" || return
  read_claim # one that was not let go would keep the successor out
  [[ -n $wanted && -n $successor && -z $owner ]] || return
  call 60 "$scratch" scontrol update "jobid=$successor" "dependency=$wanted"
  why=$complaint
  look_at_successor || return
  if [[ -z $state ]]; then
    say "warning: job $successor, which was to take over, is not in Slurm's queue any more: this job keeps its core"
    return 1
  elif [[ $dependency =~ afterany:"$this"(\(|,|$) ]]; then
    say "warning: job $successor cannot be told to wait for others, and this job keeps its core: $why"
    return 1
  fi
  for number in "${awaited[@]}"; do
    if [[ $listed != *" $number "* && $state == PENDING ]]; then
      # A job that Slurm has forgotten counts as ended in some releases; others take it out of the list.
      say "job $number has ended meanwhile"
      wait_for_this_job
      return 0
    fi
  done
  (cd "$run" && printf '%s\n' "job_id=$successor" "name=${own[JobName]:-}" "awaits=${awaited[*]}" | publish "$record")
  return 0 # without room for that `status` knows less
}

look_at_successor() { # sets its `state` and `dependency`, and `listed`; fails when this job is asked to end
  local id base line
  # Until Slurm says for whom the successor waits, neither of the two may go on; no job can be submitted then anyway.
  until call 60 "$scratch" env -u SQUEUE_FORMAT -u SQUEUE_STATES squeue -h -a -r \
    -j "$this,$successor$(printf ',%s' "${awaited[@]}")" -o '%i|%F|%T|%E' && [[ $'\n'$said == *$'\n'"$this|"* ]]; do
    [ -z "$early" ] || return
    read -r -t "$MLIPILOT_POLL_S" -u "$never"
  done
  while IFS='|' read -r id base line; do
    listed+="$base "
    [[ $base != "$successor" ]] || state=${line%%|*} dependency=${line#*|}
  done < <(lines_of "$said")
}
