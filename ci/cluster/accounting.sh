#!/usr/bin/env bash
# Slurm's accounting for the cluster of up.sh: slurmdbd over a MariaDB that listens on a Unix socket only.
# Called by `up.sh --accounting`, as root, on a throw-away machine; every start begins with no records. down.sh ends both.
set -euo pipefail
state=${MLIPILOT_CLUSTER_DIR:?is set by up.sh} config=${SLURM_CONF%/*}/slurmdbd.conf
socket=$state/mariadb.sock

fail() { echo "accounting.sh: $*" >&2; exit 2; }

wait_until() { # wait_until WHAT COMMAND...: up to 30 s
  local what=$1
  shift
  for _ in {1..300}; do
    "$@" >/dev/null 2>&1 && return
    sleep 0.1
  done
  echo "accounting.sh: $what did not come up within 30 s; see $state/*.log" >&2
  exit 1
}

start() {
  command -v slurmdbd mariadbd >/dev/null || fail "slurmdbd or MariaDB is missing: run install.sh"
  rm -rf "$state/mariadb"
  mariadb-install-db --no-defaults --user=root --datadir="$state/mariadb" --auth-root-authentication-method=socket \
    --skip-test-db >"$state/mariadb-install.log" 2>&1
  mariadbd --no-defaults --user=root --datadir="$state/mariadb" --socket="$socket" --skip-networking \
    --pid-file="$state/mariadbd.pid" >"$state/mariadbd.log" 2>&1 </dev/null &
  wait_until MariaDB mariadb --no-defaults --socket="$socket" --execute='SELECT 1'

  # slurmdbd refuses a file that others can read.
  install -m 600 /dev/stdin "$config" <<CONF
AuthType=auth/munge
DbdHost=$(hostname -s)
DbdAddr=127.0.0.1
DbdPort=$MLIPILOT_ACCOUNTING_PORT
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm_acct_db
PidFile=$state/slurmdbd.pid
LogFile=$state/slurmdbd.log
CONF
  MYSQL_UNIX_PORT=$socket slurmdbd
  wait_until slurmdbd sacctmgr --noheader show cluster
  # up.sh asks for associations to be enforced, so that limits of submission can be tested.
  sacctmgr --immediate --quiet add cluster mlipilot >/dev/null
  sacctmgr --immediate --quiet add account test >/dev/null
  sacctmgr --immediate --quiet add user root account=test >/dev/null
}

start
