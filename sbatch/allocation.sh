# shellcheck shell=bash disable=SC2034,SC2154  # who sources this reads what it sets, and has `call` of slurm.sh
# The Slurm job that serves a run by HyperQueue: sourced by hyperqueue.sh and engine_hq.sh.

controller_mib=2048 # of each node's memory, left to who serves: controller, submitter, HyperQueue

# Sets `memory_mib` of each node (0: Slurm does not say), `minutes` that it may last, `end_s` (both empty: no limit),
# and `nodes`. All from its record: the variables of its environment depend on how it was asked for.
read_allocation() { # read_allocation JOB STDERR-FILE
  local word words key value began=
  call 60 "$2" scontrol show job "$1" --oneliner || return
  nodes=1 memory_mib=0 minutes='' end_s=''
  read -r -a words < <(lines_of "$said")
  for word in "${words[@]}"; do
    key=${word%%=*} value=${word#*=}
    case $key in
      NumNodes) [[ ! $value =~ ^[1-9][0-9]*$ ]] || nodes=$value ;;
      TRES | AllocTRES) [[ ! ,$value, =~ ,mem=([0-9]+)(\.([0-9]))?[0-9]*([KMGT]), ]] || to_mib ;;
      StartTime) began=$(date -d "$value" +%s 2>/dev/null) ;;
      EndTime) end_s=$(date -d "$value" +%s 2>/dev/null) ;;
    esac
  done
  memory_mib=$((memory_mib / nodes))
  [[ -z $began || -z $end_s ]] || minutes=$(((end_s - began) / 60))
}

to_mib() { # of BASH_REMATCH
  local tenths=$((10#${BASH_REMATCH[1]} * 10 + ${BASH_REMATCH[3]:-0}))
  case ${BASH_REMATCH[4]} in
    K) memory_mib=$((tenths / 10240)) ;;
    M) memory_mib=$((tenths / 10)) ;;
    G) memory_mib=$((tenths * 1024 / 10)) ;;
    T) memory_mib=$((tenths * 1048576 / 10)) ;;
  esac
}

count_gpus() { # sets `gpus`, those that Slurm has given to who asks
  local devices=()
  IFS=, read -r -a devices < <(lines_of "${CUDA_VISIBLE_DEVICES:-}")
  gpus=${#devices[@]}
}
