#!/bin/bash
# What HyperQueue runs as a job of a run: hq_job.sh RUN NAME ID BASE SCRIPT [ARGUMENT…]. The batch script finds what Slurm
# would have told it. ID ends with - where the server's number is to complete it; BASE starts came before this server's.
set -u
run=$1 name=$2 id=$3 base=$4 script=$5
shift 5
exec >>"$run/spool/logs/$name.log" 2>&1 </dev/null
[[ $id != *- ]] || id+=$HQ_JOB_ID
export SLURM_JOB_ID=$id SLURM_JOB_NAME=$name SLURM_RESTART_COUNT=$((base + HQ_INSTANCE_ID))
export SLURMD_NODENAME=${SLURMD_NODENAME:-$(uname -n)}
unset "${!HQ@}" # a key to the server is among them
exec bash "$script" "$run" "$@"
