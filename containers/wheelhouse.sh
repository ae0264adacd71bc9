# shellcheck shell=bash disable=SC2154  # build.sh sets what is read here
# Sourced by build.sh: what fetches from a package index (`lock`, `wheelhouse`), and the check of what was fetched.

asks="It asks the index or mirror of PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS or pip.conf; PIP_CERT names a mirror's certificate"

python_venv() { # a fresh environment of the base's Python, in $work/venv, with what builds
  local python=${MLIPILOT_PYTHON:-python3.11}
  "$python" -c 'import sys, ensurepip; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null ||
    die "$python is not a Python 3.11 with venv, which the base has: install one or set MLIPILOT_PYTHON"
  [ "$(uname -sm)" = "Linux x86_64" ] ||
    die "this is $(uname -sm): pip fetches for the machine it runs on, which must be Linux x86_64"
  "$python" -m venv "$work/venv"
  install_builders "$work/venv" "$here" || die "pip could not fetch what requirements-build.lock names (its words are above). $asks"
}

make_lock() { # make_lock VARIANT
  local new
  say "resolving requirements-$1.lock"
  new=$(mktemp "$here/.requirements-XXXXXX"); scratch+=("$new")
  "$work/venv/bin/python" "$here/lock.py" "$1" >"$new" || exit 2
  chmod 644 "$new"
  mv -- "$new" "$here/requirements-$1.lock"
}

make_base() { # make_base TARBALL: the smallest Debian 12 with Python, or what --base names
  if [ -n "$base" ]; then
    need_apptainer 1.2 3.11
    "$container" build --sandbox --fix-perms "$work/sandbox" "$base" >&2 ||
      die "$base: no base could be made from it ($container's words are above)"
    tar -C "$work/sandbox" --exclude=./dev -czf "$1" .
    return
  fi
  need mmdebstrap "install it (Debian, Ubuntu: apt-get install mmdebstrap), or name a base with --base"
  local archive=()
  # Where this machine takes Debian 12 from an archive of its own choice, so does the base.
  if command -v apt-get >/dev/null; then
    # shellcheck disable=SC2016  # apt-get's own placeholders
    apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
      awk '$1 ~ /^bookworm(-updates|-security)?$/ && $2 == "main" {print "deb", $3, $1, $2}' | sort -u >"$work/archive"
    [ ! -s "$work/archive" ] || archive=("$work/archive")
  fi
  # essential: no package manager within. Manuals and translations help nobody in there; licences stay. mmdebstrap
  # copies this machine's name and name servers, which are not the base's.
  # shellcheck disable=SC2016  # mmdebstrap's shell expands the hook's $1
  SOURCE_DATE_EPOCH=0 mmdebstrap --quiet --variant=essential --include=python3,libstdc++6,libgomp1 --skip=output/dev \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --customize-hook='rm -rf "$1"/etc/apt/sources.list* "$1"/var/lib/apt "$1"/var/cache/apt "$1"/etc/hostname; : >"$1"/etc/resolv.conf' \
    bookworm "$1" "${archive[@]}" || die "mmdebstrap made no base (its words are above). Without root it needs lines for" \
    "$(id -un) in /etc/subuid and /etc/subgid, fakechroot or proot: ask for them, name a base with --base, or carry a wheelhouse here"
}

make_wheelhouse() {
  local new
  [ -f "$lock" ] || die "$lock is missing: make it with 'build.sh lock'"
  [ ! -e "$wheelhouse" ] || [ -f "$wheelhouse/requirements.lock" ] || [ -z "$(ls -A "$wheelhouse")" ] ||
    die "$wheelhouse exists and is no wheelhouse: name a new or empty folder"
  python_venv
  mkdir -p "$(dirname "$wheelhouse")"
  new=$(mktemp -d "$(dirname "$wheelhouse")/.wheelhouse-XXXXXX"); scratch+=("$new")
  say "fetching the wheels of $(basename "$lock")"
  # Source-only packages become wheels, by the pinned tools; SHA256SUMS pins what they made.
  SOURCE_DATE_EPOCH=315532800 "$work/venv/bin/python" -m pip wheel -qq --disable-pip-version-check --no-deps --no-build-isolation \
    --require-hashes -r "$lock" -w "$new" || die "pip could not fetch or build what $lock names (its words are above). $asks"
  say "making the base"
  make_base "$new/base.tar.gz"
  cp -- "$lock" "$new/requirements.lock"
  (cd "$new" && LC_ALL=C sha256sum -- * >"$work/SHA256SUMS" && mv "$work/SHA256SUMS" SHA256SUMS)
  chmod 755 "$new"
  [ ! -e "$wheelhouse" ] || mv -- "$wheelhouse" "$new.old"
  scratch+=("$new.old")
  mv -- "$new" "$wheelhouse"
  say "$wheelhouse: $(du -sh "$wheelhouse" | cut -f1), SHA-256 of its SHA256SUMS $(sha256_of "$wheelhouse/SHA256SUMS")"
}

check_wheelhouse() { # every byte is listed, nothing is there unlisted, and the lock file vouches for what it can
  local digest file name version unlisted
  [ -f "$wheelhouse/SHA256SUMS" ] || die "$wheelhouse has no SHA256SUMS: make it with 'build.sh wheelhouse $variant'"
  (cd "$wheelhouse" && sha256sum --quiet --strict -c SHA256SUMS >&2) ||
    refuse "$wheelhouse is not what its SHA256SUMS says: carry it here again"
  cmp -s "$lock" "$wheelhouse/requirements.lock" ||
    refuse "$wheelhouse was made from another lock file than $lock: make it again with 'build.sh wheelhouse $variant'"
  unlisted=$(comm -13 <(cut -c67- "$wheelhouse/SHA256SUMS" | sort) \
    <(find "$wheelhouse" -mindepth 1 ! -name SHA256SUMS -printf '%P\n' | sort))
  [ -z "$unlisted" ] || refuse "$wheelhouse has files that its SHA256SUMS does not list: $unlisted"
  while read -r digest file; do
    case $file in *.whl) ;; *) continue ;; esac
    IFS=- read -r name version _ <<<"$file"
    name=$(tr '_[:upper:]' '-[:lower:]' <<<"$name")
    grep -qF -- "--hash=sha256:$digest" "$lock" || grep -A1 "^$name==$version " "$lock" | grep -q '# sdist$' ||
      refuse "$wheelhouse/$file: $lock knows neither this SHA-256 nor a source-only $name==$version"
  done <"$wheelhouse/SHA256SUMS"
}
