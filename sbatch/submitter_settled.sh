# The submitter's file of what is settled, sourced by submitter.sh: of a request of which nothing more is to come it
# keeps one line of spool/settled, and removes what the spool held of it otherwise. Logs of jobs that did not end
# well stay.
#
# A line is the request's name, `key=value`s and the word `end`, separated by tabs, all of it printable ASCII. What is
# not of this form is no line: a kill may tear the last one. Lines are on disk before any file goes; of two of a name
# the first counts, and a name that is there once is settled for ever.
# shellcheck shell=bash disable=SC2034,SC2154  # the submitter's files share their variables

declare -A folded=() # the line of each request that has one
declare -A over=()   # of the others, those whose jobs Slurm says are over
settled_bytes=0      # how long the file was when it was written last
settled_tail=''      # what has to come before the next line: the file may end within one
most_folded=1000     # at a time: requests are not kept waiting
more_to_fold=        # there may be more

is_settled() { # is_settled NAME: whether a request has its answer
  [[ -n ${settled[$1]:-}${folded[$1]:-} ]]
}

was_submitted() { # was_submitted NAME: whether the answer to a request was a job
  [[ -n ${job_of[$1]:-} || ${folded[$1]:-} == *$'\tstatus=submitted\t'* ]]
}

settled_size() { # sets `size` of the file, 0 where there is none
  size=0
  [[ ! -f spool/settled || -L spool/settled ]] || size=$(stat -c %s spool/settled 2>/dev/null) || size=0
}

load_settled() { # what earlier submitters folded; what a kill then kept them from removing goes now
  local line lines=() name file size left=()
  [[ -f spool/settled && ! -L spool/settled ]] || return 0
  mapfile lines <spool/settled || usage_error "cannot read '$run/spool/settled': give this user the right to"
  for line in "${lines[@]}"; do
    [[ $line == *$'\n' ]] || settled_tail=$'\n'
    line=${line%$'\n'} name=${line%%$'\t'*}
    if [[ $line == *$'\tend' ]] && is_name "$name" && [[ -z ${folded[$name]:-} ]]; then folded[$name]=$line; fi
  done
  for file in spool/requests/*; do
    name=${file##*/}
    [[ -z ${folded[$name]:-} ]] || files_of "$name" "${folded[$name]}"
  done
  remove "${left[@]}"
  settled_size
  settled_bytes=$size
}

files_of() { # files_of NAME LINE: what the spool holds of a request beside its log, into `left`; its request last
  local file
  for file in "spool/started/$1".*; do
    [[ ! ${file#"spool/started/$1."} =~ ^[0-9]+$ ]] || left+=("$file")
  done
  [[ $2 != *$'\tcancelled=1\t'* ]] || left+=("spool/cancel/$1") # else that wish is younger than the line
  left+=("spool/intents/.$1" "spool/receipts/.$1" "spool/intents/$1" "spool/receipts/$1" "spool/requests/$1")
}

remove() { # remove FILE…: in this order; what cannot be removed does no harm
  while (($# > 0)); do
    rm -f -- "${@:1:500}" 2>/dev/null
    shift $(($# < 500 ? $# : 500))
  done
}

read_asked() { # read_asked NAME: what its request says, as one line, into `asked`, and of which attempts, into `attempts`
  local word words file=spool/requests/$1
  asked='' attempts=()
  [[ -f $file && ! -L $file ]] || return 0
  { IFS= read -r -d '' -n 16384 asked <"$file"; } 2>/dev/null
  asked=${asked//[! -~]/ } asked=${asked% }
  split_words "${asked//[^a-z0-9\/-]/ }"
  for word in "${words[@]}"; do
    [[ ! $word =~ $attempt_pattern ]] || attempts+=("$word")
  done
}

are_sealed() { # are_sealed ATTEMPT…
  local attempt
  for attempt; do
    [[ -e $attempt/manifest-sha256.txt ]] || return 1
  done
}

# Whether the attempts of a request are done with: each is sealed, or the iteration is that gave it up.
are_done() {
  local attempt
  for attempt; do
    [[ -e $attempt/manifest-sha256.txt ]] ||
      [[ $attempt == */iterations/*/seed-* && -e ${attempt%/seed-*}/manifest-sha256.txt ]] || return 1
  done
}

may_be_folded() { # may_be_folded NAME: sets `asked` and `attempts` too
  if [[ -n ${job_of[$1]:-} ]]; then
    is_over "${row_of[$1]:-}" && ((now - ${since_of[$1]:-now} >= MLIPILOT_FOLD_S)) || return
  fi
  [[ -z ${awaited[$1]:-} ]] || return
  read_asked "$1"
  [[ -e spool/cancel/$1 ]] || are_done "${attempts[@]}"
}

settle() { # settle NAME: its line, into `line`
  local file word words started=0 cancelled=0 state rest=${row_of[$1]:-}
  read_fields "spool/receipts/$1" && [[ ${fields[job_id]:-} == "${job_of[$1]:-}" ]] || return
  for file in "spool/started/$1".*; do
    [[ ! ${file#"spool/started/$1."} =~ ^[0-9]+$ ]] || started=1
  done
  [[ ! -e spool/cancel/$1 ]] || cancelled=1
  state_of "$rest"
  rest=${rest#*|*|*|}
  words=("status=${fields[status]:-}" "job_id=${fields[job_id]:-}" "time=${fields[time]:-}" "reason=${fields[reason]:-}"
    "state=$state" "why=${rest%%|*}" "nodes=${rest#*|}" "since=${since_of[$1]:-}"
    "started=$started" "cancelled=$cancelled" "asked=$asked")
  line=$1
  for word in "${words[@]}"; do line+=$'\t'${word//[! -~]/ }; done
  line+=$'\tend'
}

may_go() { # may_go LOG: an empty one, or that of a job that ended well and whose attempts are sealed
  [[ ! -s $1 ]] || [[ $line == *$'\tstate=COMPLETED\t'* && ${#attempts[@]} -gt 0 ]] && are_sealed "${attempts[@]}"
}

fold_settled() { # what is settled becomes lines of the file, and its own files go
  local index name line asked attempts names=() lines=() left=()
  local -A awaited=()
  for name in "${waits_for[@]}" "${behind[@]}"; do awaited[$name]=1; done
  more_to_fold=
  clock
  for name in "${!over[@]}" "${!refused[@]}"; do
    if ! may_be_folded "$name" || ! settle "$name"; then continue; fi
    names+=("$name") lines+=("$line")
    ! may_go "spool/logs/$name.log" || left+=("spool/logs/$name.log")
    files_of "$name" "$line"
    ((${#names[@]} < most_folded)) || { more_to_fold=1 && break; }
  done
  [[ ${#names[@]} -gt 0 ]] || return 0
  is_mine && append_settled "${lines[@]}" || return
  for index in "${!names[@]}"; do
    folded[${names[index]}]=${lines[index]}
    forget "${names[index]}"
  done
  remove "${left[@]}"
  unpublished=1
  log "folded ${#names[@]} of the requests that are settled: spool/settled has ${#folded[@]}"
}

drop_impostor() { # what stands in the file's place and is none
  [[ ! -L spool/settled ]] && [[ -f spool/settled || ! -e spool/settled ]] || rm -rf -- spool/settled
}

append_settled() { # append_settled LINE…: on disk when this returns
  local size
  drop_impostor
  restore_settled || return # what is appended to is whole, or nothing is folded
  if ! { printf '%s' "$settled_tail" && printf '%s\n' "$@"; } >>spool/settled || ! sync -- spool/settled; then
    settled_tail=$'\n'
    log_once settled "cannot write $run/spool/settled: see the filesystem's space and rights"
    return 1
  fi
  settled_tail=''
  sync -- spool 2>/dev/null # some filesystems cannot do that to a directory
  settled_size
  settled_bytes=$size
  note_settled
}

note_settled() { # how long the file is, beside the spool: who opens the run after somebody has cut it is to know
  read_fields .spool
  printf '%s\n' "token=${fields[token]:-}" "remade=${fields[remade]:-0}" "settled=$settled_bytes" | publish ./.spool
}

restore_settled() { # the file, where somebody deleted or cut it
  local size
  [[ ${#folded[@]} -gt 0 ]] || return 0
  drop_impostor
  settled_size
  ((size < settled_bytes)) || return 0
  log "spool/settled is gone, or shorter than it was, and written again"
  printf '%s\n' "${folded[@]}" | publish spool/settled || return
  settled_size
  settled_tail='' settled_bytes=$size
  note_settled
}

forget() { # forget NAME: what is known of it otherwise
  unset "settled[$1]" "job_of[$1]" "row_of[$1]" "told_of[$1]" "since_of[$1]" "refused[$1]" "over[$1]" "noted[$1]" \
    "noted[cancel $1]" "noted[cancel of $1]" "noted[ended $1]" "why_not[$1]" "open[$1]"
}
