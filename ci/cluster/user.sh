#!/usr/bin/env bash
# An ordinary user on a throw-away machine, for tests that must not be root's: user.sh NAME [GROUP], as root, GROUP
# being one more that the user is in. A second run changes nothing. pip finds for them what it finds for root, as the README asks of who has no index for torch's CPU build.
set -euo pipefail
name=${1:?whom to add: user.sh NAME [GROUP]} group=${2:-}
[ "$(id -u)" = 0 ] || { echo "user.sh: user $(id -un) may not add users: run it as root" >&2; exit 2; }
id -u "$name" >/dev/null 2>&1 || useradd --create-home --shell /bin/bash "$name"
if [ -n "$group" ]; then
  groupadd --force "$group"
  usermod --append --groups "$group" "$name"
fi
home=$(getent passwd "$name" | cut -d: -f6)
install -d -o "$name" -g "$name" "$home/.config" "$home/.config/pip"
{
  echo '[global]'
  python3 -m pip config list 2>/dev/null | sed -nE "s/^(global|:env:)\.([a-z-]+)='(.*)'$/\2 = \3/p" | sort -u -t= -k1,1
} >"$home/.config/pip/pip.conf"
