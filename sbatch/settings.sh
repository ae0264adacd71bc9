# shellcheck shell=bash
# Every setting of the scripts here and, a campaign's own block apart, the only place that gives one its default. Who
# reads a setting sources this first, so that none can meet one that nobody has set. They come from the environment (of
# the campaign's sbatch file, of cron, of a shell) and, where that does not say, from the site's own file for all users,
# lines such as `MLIPILOT_GPU_PARTITION=gpu`: site.sh beside this, else /etc/mlipilot/site.sh. One that is empty is not set.
#
# NAME|KIND|DEFAULT|MEANING, where KIND is `text`, the least that a whole number may be, or `carried` for what one
# script tells the next and nobody sets.
settings=(
  # Where jobs run, and how they are asked for
  'MLIPILOT_GPU_PARTITION|text||--partition of the jobs (none: the default of Slurm)'
  'MLIPILOT_ACCOUNT|text||--account of the jobs'
  'MLIPILOT_QOS|text||--qos of the jobs'
  'MLIPILOT_CONSTRAINT|text||--constraint of the jobs'
  'MLIPILOT_GPU_GRES|text|gpu|how N GPUs are asked for: gpu or gpu:a100 means --gres=gpu:a100:N; a word that begins with -- is taken as it is, with %N for the number, as in --gpus-per-node=%N'
  'MLIPILOT_SBATCH_EXTRA|text||further words for sbatch, separated by blanks; they override all of the above'
  'MLIPILOT_SBATCH_EXTRA_TRAIN|text||the same for trainings only'
  'MLIPILOT_SBATCH_EXTRA_EVALUATE|text||the same for evaluations only'
  'MLIPILOT_SBATCH_EXTRA_FUSED|text||the same where a training and its evaluation are one job'
  'MLIPILOT_SBATCH_EXTRA_ENDPOINT|text||the same for the model of a campaign only'
  'MLIPILOT_MAX_MINUTES|1|1440|the longest time that a job may ask for, and that of the model'
  'MLIPILOT_MAX_CPUS|1|64|the most cores that a job may ask for'
  'MLIPILOT_MAX_MEMORY_MIB|1|262144|the most memory that a job may ask for'
  'MLIPILOT_MAX_GPUS|0|8|the most GPUs that a job may ask for'
  # What jobs run with
  'MLIPILOT_IMAGE|text||the image of controller and jobs'
  'MLIPILOT_IMAGE_SHA256|text||its SHA-256 (none: what image.sha256 of the run says)'
  'MLIPILOT_HASH_ALWAYS|0|0|1: each job reads the whole image for its SHA-256, instead of once a node and boot'
  'MLIPILOT_PUBLIC_KEY|text||PEM: refuse an image that it did not sign'
  'MLIPILOT_MODULES|text||modules to load on the host, separated by blanks'
  'MLIPILOT_PYTHON|text||without an image, the Python that jobs run with'
  'MLIPILOT_PASS|text||names of further variables that the controller is given, separated by blanks'
  # How Slurm is asked, or HyperQueue in its place
  'MLIPILOT_ENGINE|text|slurm|who runs the jobs: slurm, or hq, HyperQueue within the allocation of the controller or of hyperqueue.sbatch'
  'MLIPILOT_HQ_IDLE_S|1|900|how long the nodes of hyperqueue.sbatch wait for a job before they are given back'
  'MLIPILOT_SUBMIT|text|here|here: the controller has a submitter beside it; login: submitter.sh --once runs elsewhere'
  'MLIPILOT_LINEAGE|0|0|which lineage a controller carries that is no task of an array'
  'MLIPILOT_SBATCH_DIR|text||where the batch scripts lie (none: beside submitter.sh)'
  'MLIPILOT_POLL_S|1|30|seconds between two looks at the queue, up to six times that while nothing changes'
  'MLIPILOT_SLURM_TIMEOUT_S|1|30|patience with one command of Slurm; sbatch gets at most MLIPILOT_DOUBT_S'
  'MLIPILOT_DOUBT_S|1|60|age at which a submission that Slurm knows nothing of is held for lost'
  'MLIPILOT_HAND_BACK_S|0|1800|how long a controller waits for jobs alone before it hands its core back; 0: it never does'
  'MLIPILOT_FOLD_S|1|600|how long a job has been over when what the spool holds of it is folded into one line'
  # The model of a campaign: endpoint.sh
  'MLIPILOT_ENDPOINT|text||what to serve: a GGUF file, or the directory of a model, by the image below'
  'MLIPILOT_ENDPOINT_IMAGE|text||the image of vLLM, for such a directory'
  'MLIPILOT_ENDPOINT_OPTIONS|text||further words for the server, separated by blanks'
  'MLIPILOT_ENDPOINT_WAIT_S|1|1800|patience until the model is loaded'
  'MLIPILOT_ENDPOINT_IDLE_S|1|900|how long the model of a campaign outlives the last of its controllers'
  # From a controller to its successor
  'MLIPILOT_CAMPAIGN_FILE|carried||the sbatch file that the first of them was submitted as'
  'MLIPILOT_LINEAGES|carried||the first and the last of the lineages that were submitted together, as in 0-3'
  'MLIPILOT_LEDGER_RECORDS|carried||how many records told of progress when the controller before this one began'
  'MLIPILOT_IDLE_GENERATIONS|carried|0|how many controllers in a row got no further'
)

# Read by a shell of its own: whatever else the site does there, this one goes on, and its settings are all that counts.
read_site() { # of the first of those files that is there
  local file line name='' whole='' names=()
  for line in "${settings[@]}"; do names+=("${line%%|*}"); done
  for file in "${BASH_SOURCE[0]%/*}/site.sh" /etc/mlipilot/site.sh; do
    [[ -e $file ]] || continue
    while IFS= read -r -d '' line; do
      name=${line%%=*} line=${line#*=}
      if [[ $name == '(read)' ]]; then
        whole=1
      elif [[ -z ${!name:-} ]]; then
        printf -v "$name" %s "${line//$'\r'/}"
      fi
    done < <(bash -n "$file" && bash -c 'source "$0" >&2 </dev/null; set +eu
      for name; do printf "%s=%s\0" "$name" "${!name:-}"; done; printf "(read)=\0"' "$file" "${names[@]}")
    [[ -n $whole ]] && return
    printf '%s: %s\n' "${0##*/}" "$file cannot be read to its end: mend it, or move it away" >&2
    exit 2
  done
}

apply_defaults() {
  local line name kind default
  for line in "${settings[@]}"; do
    name=${line%%|*} line=${line#*|}
    kind=${line%%|*} line=${line#*|}
    default=${line%%|*}
    [[ -n ${!name:-} ]] || printf -v "$name" %s "$default"
    if [[ $kind == [0-9]* && ! (${!name} =~ ^(0|[1-9][0-9]{0,8})$ && ${!name} -ge $kind) ]]; then
      printf '%s: %s\n' "${0##*/}" "$name='${!name}' is not a whole number: set it to $kind or more" >&2
      exit 2
    fi
  done
  if [[ " $MLIPILOT_ENDPOINT_OPTIONS" =~ [[:blank:]]--(api[-_]key|hf[-_]token) ]]; then # a run keeps these words
    printf '%s: %s\n' "${0##*/}" "MLIPILOT_ENDPOINT_OPTIONS holds a key: leave it out, the job draws a token of its own" >&2
    exit 2
  fi
}
read_site
apply_defaults
