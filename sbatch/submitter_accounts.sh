# The submitter's extract of Slurm's accounts, sourced by submitter.sh: spool/accounts has what they say of the run's
# jobs and of their controllers, whoever of a group they are of, for those who read the run where Slurm cannot be
# asked, or has forgotten them.
#
# Its first line has when Slurm was asked (`time`), from when on (`begun`), and whether it keeps accounts at all; the
# second names sacct's columns. Times are in UTC. A job that Slurm started again has a row for each start, and each
# row of a job is followed by that of its batch step, which knows what of the cores and of the memory was used.
# shellcheck shell=bash disable=SC2154  # the submitter's files share their variables

accounts_columns=JobIDRaw,JobID,JobName,State,Submit,Eligible,Start,End,ElapsedRaw,AllocCPUS,CPUTimeRAW,TotalCPU,MaxRSS,ReqMem,AllocTRES,WorkDir
accounts_every_s=60 # one query then, however many jobs there are; more and more rarely, up to five minutes
next_accounts=      # when Slurm is asked again
accounted=none      # what the queue said of the jobs when it was asked last

publish_accounts() { # publish_accounts [now]: asks at once, or when it is time
  local begun kept=() rows=()
  clock
  if [[ -z $next_accounts ]]; then # the pass before this one may have been another process's
    read_accounts
    [[ $accounts_time = 0 ]] || accounts_every_s=300
    next_accounts=$((accounts_time <= now ? accounts_time + accounts_every_s : now))
  fi
  ((${#job_of[@]} + ${#folded[@]} > 0)) || return 0
  ((now >= next_accounts)) || [[ -n ${1-} ]] || return 0
  is_mine || return 0
  [[ -z $silent ]] || return 0 # who does not answer is not asked for more
  next_accounts=$((now + accounts_every_s))
  accounts_every_s=$((accounts_every_s < 150 ? 2 * accounts_every_s : 300))
  # Where nothing runs and nothing has changed there is nothing new.
  [[ -n ${1-} || ${row_of[*]} != "$accounted" || ${row_of[*]} == *'|RUNNING|'* ]] || return 0
  accounted=${row_of[*]}
  read_accounts
  begun=$(stat -c %Y campaign.lock.yaml 2>/dev/null) || begun=$now
  begun=$((begun - 3600)) # clocks differ
  ((accounts_begun == 0 || accounts_begun > begun)) || begun=$accounts_begun
  if ! keeps_accounts; then
    [[ ${#kept[@]} -gt 0 ]] || printf '%s\n' "time=$now begun=$begun accounting=0" | publish spool/accounts
    return 0
  fi
  ask_queue env TZ=UTC sacct --noheader --parsable2 --duplicates --noconvert "--uid=$(list_users)" \
    "--starttime=$(date -u -d "@$begun" +%FT%T)" --endtime=now "--format=$accounts_columns" || return 0
  select_accounts
  printf '%s\n' "time=$now begun=$begun accounting=1" "${accounts_columns//,/|}" "${rows[@]}" | publish spool/accounts
}

list_users() { # who began the run, or carries a lineage of it, or submits its jobs
  { echo "$UID" && stat -c %u campaign.lock.yaml lineage-*/controller/[0-9]*.json; } 2>/dev/null | sort -u | paste -sd,
}

read_accounts() { # sets `accounts_time` and `accounts_begun`, 0 where there is no extract, and publish_accounts' `kept`
  local lines=()
  accounts_time=0 accounts_begun=0 kept=()
  { mapfile -t lines <spool/accounts; } 2>/dev/null || return 0
  [[ ${lines[0]:-} =~ ^time=([1-9][0-9]{0,11})\ begun=([1-9][0-9]{0,11})\  ]] || return 0
  accounts_time=${BASH_REMATCH[1]} accounts_begun=${BASH_REMATCH[2]}
  [[ ${lines[1]:-} != "${accounts_columns//,/|}" ]] || kept=("${lines[@]:2}")
}

select_accounts() { # of `said`, what is about this run, into publish_accounts' `rows`; before it, what Slurm has forgotten
  local line number='' task name ours='' of_now=()
  local -A controllers=() answered=()
  while IFS= read -r line; do
    [[ ! $line =~ ([0-9]+(_[0-9]+)?) ]] || controllers[${BASH_REMATCH[1]}]=1
  done < <(grep -hoE '"id": *"[0-9]+(_[0-9]+)?"' lineage-*/controller/[0-9]*.json 2>/dev/null)
  for line in "${kept[@]}"; do # one that has let go has no claim any more
    [[ ! $line =~ ^[0-9]+\|([0-9_]+)\|([^|]*)\| || ${BASH_REMATCH[2]} == mlp-* ]] || controllers[${BASH_REMATCH[1]}]=1
  done
  while IFS= read -r line; do
    if [[ $line =~ ^([0-9]+)\|([0-9_]+)\|([^|]*)\| ]]; then
      number=${BASH_REMATCH[1]} task=${BASH_REMATCH[2]} name=${BASH_REMATCH[3]} ours=
      if is_name "$name"; then
        [[ $line != *"|$real_run" && -z ${job_of[$name]:-}${folded[$name]:-} ]] || ours=1
      else
        ours=${controllers[$task]:-}
      fi
    elif [[ ! $line =~ ^([0-9]+)\.batch\| || ${BASH_REMATCH[1]} != "$number" ]]; then
      continue
    fi
    [[ -z $ours ]] || of_now+=("$line") answered[$number]=1
  done < <(lines_of "$said")
  for line in "${kept[@]}"; do
    number=${line%%|*}
    [[ -n ${answered[${number%.batch}]:-} ]] || rows+=("$line")
  done
  rows+=("${of_now[@]}")
}
