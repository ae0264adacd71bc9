#!/usr/bin/env bash
# Installs a real Slurm and a real Apptainer on a bare Debian 12 (amd64), as root.
# For testing on a throw-away machine: it adds packages and writes below /etc. A second run changes nothing.
#
# Slurm 22.05 is Debian 12's own. Apptainer is only in Debian's unstable suite, built for a newer C library;
# its package is rebuilt here with that library put beside its two binaries, where nothing else uses it.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
packages=(
  slurm-wlm munge                                             # the cluster
  slurmdbd mariadb-server                                     # its accounts
  squashfs-tools squashfuse uidmap containernetworking-plugins libseccomp2 libsqlite3-0 # Apptainer at work
  patchelf                                                    # Apptainer's rebuilding
  mmdebstrap                                                  # base images made of Debian packages
  bubblewrap                                                  # sandboxes of local jobs
  openssh-client openssl                                      # seals of runs, signatures of images
)

fail() { echo "install.sh: $*" >&2; exit 2; }

[ "$(id -u)" = 0 ] || fail "user $(id -un) may not install packages: run it as root"
# shellcheck disable=SC1091
[ "$(. /etc/os-release && echo "$ID $VERSION_ID")" = "debian 12" ] || fail "/etc/os-release is not of Debian 12: use such a machine or container"
[ "$(dpkg --print-architecture)" = amd64 ] || fail "architecture $(dpkg --print-architecture): only amd64 is prepared"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Quiet unless it fails. The lock is waited for: a fresh machine may still be updating itself.
apt_get() {
  apt-get -qq -o DPkg::Lock::Timeout=300 "$@" >"$work/apt.log" 2>&1 || { cat "$work/apt.log" >&2; exit 1; }
}

is_installed() {
  [ "$(dpkg-query -W -f '${db:Status-Status} ' "$@" 2>/dev/null | tr ' ' '\n' | grep -cx installed)" = $# ]
}

# apt as of the unstable suite, in a world of its own: the machine's package lists and choices stay as they are.
unstable_apt() { APT_CONFIG=$work/unstable/apt.conf apt_get "$@"; }

describe_unstable() {
  local archive
  # The archive that this machine installs from, whichever that is.
  # shellcheck disable=SC2016  # apt fills in the name
  archive=$(apt-get indextargets --format '$(REPO_URI)' 'Label: Debian' 'Created-By: Packages' | sed -n 1p)
  [ -n "$archive" ] || fail "apt has no Debian archive: add one to /etc/apt/sources.list and run apt-get update"
  mkdir -p "$work"/unstable/{lists,cache/archives}/partial
  touch "$work/unstable/status"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $archive sid main" >"$work/unstable/sources.list"
  cat >"$work/unstable/apt.conf" <<CONF
Dir::Etc::sourcelist "$work/unstable/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State::lists "$work/unstable/lists";
Dir::State::status "$work/unstable/status";
Dir::Cache "$work/unstable/cache";
Acquire::Languages "none";
Acquire::Check-Valid-Until "false";
APT::Sandbox::User "root";
CONF
}

install_apptainer() {
  local home=/usr/lib/x86_64-linux-gnu/apptainer binary
  describe_unstable
  cd "$work/unstable"
  unstable_apt update
  unstable_apt download apptainer libc6
  dpkg-deb --raw-extract apptainer_*.deb tree
  dpkg-deb --extract libc6_*.deb library
  install -D -t "tree$home/glibc" library/usr/lib/x86_64-linux-gnu/{ld-linux-x86-64.so.2,libc.so.6}
  for binary in tree/usr/bin/apptainer "tree$home/bin/starter"; do
    patchelf --set-interpreter "$home/glibc/ld-linux-x86-64.so.2" --force-rpath \
      --set-rpath "$home/glibc:/usr/lib/x86_64-linux-gnu" "$binary"
  done
  # The library that it brings meets the dependency; the version says that this is no package of Debian's.
  sed -i -E 's/libc6 \(>= [^)]*\)/libc6/; s/^Version: .*/&+bookworm1/' tree/DEBIAN/control
  dpkg-deb -Znone --root-owner-group --build tree apptainer.deb >/dev/null
  apt_get install -y --no-install-recommends ./apptainer.deb
  cd /
}

# Apptainer gives root all capabilities, which fails in a virtual machine whose root lacks CAP_SYS_RESOURCE (24).
limit_root_capabilities() {
  local effective
  effective=$(sed -n 's/^CapEff:\t//p' /proc/self/status)
  ((16#$effective >> 24 & 1)) && return
  sed -i 's/^root default capabilities = .*/root default capabilities = file/' /etc/apptainer/apptainer.conf
  apptainer --silent capability add --user root \
    CAP_CHOWN,CAP_DAC_OVERRIDE,CAP_FOWNER,CAP_FSETID,CAP_KILL,CAP_MKNOD,CAP_SETFCAP,CAP_SETGID,CAP_SETPCAP,CAP_SETUID,CAP_SYS_CHROOT
}

if ! is_installed "${packages[@]}" || ! apptainer --version >/dev/null 2>&1; then
  apt_get update
  apt_get install -y --no-install-recommends "${packages[@]}"
  apptainer --version >/dev/null 2>&1 || install_apptainer
fi
limit_root_capabilities
# `apptainer build --fakeroot` maps root to a range of its own.
for file in /etc/subuid /etc/subgid; do
  grep -qs '^root:' "$file" || echo root:200000:65536 >>"$file"
done
[ ! -c /dev/fuse ] || chmod 666 /dev/fuse # other users mount images, too
echo "slurm $(dpkg-query -W -f '${Version}' slurm-wlm), $(apptainer --version)"
