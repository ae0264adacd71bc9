#!/usr/bin/env bash
# Builds MLIPilot's Apptainer images. What needs a package index (`lock`, `wheelhouse`) and what needs none (`image`)
# are separate, so that a wheelhouse made on one machine can be carried to another; `build.sh --help` has the verbs.
# Each verb writes beside its goal and renames at the end. Exit status: 0 good, 1 a check failed, 2 the input is wrong.
set -euo pipefail
umask 022
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
# What decides what is in an image, apart from the wheelhouse.
sources=(pyproject.toml README.md LICENSE mlipilot mlipilot_labels campaigns scorecards sbatch containers/{mlipilot.def,sbom.py,sif.sh})
fields=(file variant version sif_sha256 size_bytes sbom_file sbom_digest base_digest lock_digest source_digest
  source_git_tree wheelhouse_digest apptainer_version mksquashfs_version signed)

usage() {
  cat <<'HELP'
build.sh lock                     resolve pyproject.toml into requirements-{cpu,cuda,dev,build}.lock
build.sh wheelhouse [cpu|cuda]    fetch what the lock file names, and a base, into the wheelhouse
build.sh image [cpu|cuda]         build and test the SIF, and enter it in images.lock beside it; no network is used
build.sh sign KEY.pem [cpu|cuda]  sign the SIF with a PEM private key; images.lock follows
build.sh verify [PUB.pem] [cpu|cuda]   compare the SIF with images.lock; with a public key its signature too

  --wheelhouse DIR   where the wheels and the base are      (default: wheelhouse-VARIANT beside this script)
  --output DIR       where the SIF and images.lock are      (default: beside this script)
  --base SOURCE      `wheelhouse`: a base with Python 3.11 that Apptainer can fetch (docker://NAME@sha256:DIGEST) or
                     read (a SIF), instead of a Debian 12 made with mmdebstrap
  --offline          `image`: refuse if there is no wheelhouse, instead of fetching one

The variant is cpu unless named. An image that is up to date is not built again.
MLIPILOT_PYTHON      Python 3.11 for `lock` and `wheelhouse`      (default: python3.11)
MLIPILOT_PUBLIC_KEY  PUB.pem for `verify` where none is named
PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS, PIP_CERT and pip.conf lead to a mirror, as they do for pip
TMPDIR               room for the build: about 3 GB (cpu), 12 GB (cuda)
HELP
}

say() { printf 'build.sh: %s\n' "$*" >&2; }
die() { say "$*"; exit 2; }      # the input is wrong
refuse() { say "$*"; exit 1; }   # a check failed
sha256_of() { sha256sum -- "$1" | cut -d' ' -f1; }

need() { # need COMMAND MEND
  command -v "$1" >/dev/null || die "$1 is not on the PATH: $2"
}

stage_sources() { # into $work/source and $work/share; sets source_digest and git_tree
  local untracked
  git_tree=none
  if [ -e "$root/.git" ] && command -v git >/dev/null; then
    # Of another user's checkout git says nothing unless it is told that this is one's wish.
    git() { command git -c "safe.directory=$root" "$@"; }
    git -C "$root" rev-parse --show-toplevel >/dev/null || die "git says nothing of $root: see its words above"
    git -C "$root" ls-files -cz -- "${sources[@]}" >"$work/listed"
    [ -n "$(git -C "$root" status --porcelain --untracked-files=no)" ] || git_tree=$(git -C "$root" rev-parse 'HEAD^{tree}')
    untracked=$(git -C "$root" ls-files -o --exclude-standard -- "${sources[@]}")
    [ -z "$untracked" ] || say "not in the image, as git does not track them (git add): ${untracked//$'\n'/ }"
  else
    (cd "$root" && find "${sources[@]}" -type f ! -name '*.pyc' -print0 2>/dev/null) >"$work/listed" || true
  fi
  (
    cd "$root"
    while IFS= read -r -d '' file; do [ ! -f "$file" ] || printf '%s\0' "$file"; done <"$work/listed" |
      LC_ALL=C sort -z >"$work/files"
    tar --null -T "$work/files" -cf - | tar -C "$work/source" -xf -
    xargs -0 sha256sum -- <"$work/files" >"$work/source.sha256"
  )
  source_digest=sha256:$(sha256_of "$work/source.sha256")
  for folder in campaigns scorecards sbatch; do
    [ ! -d "$work/source/$folder" ] || mv -- "$work/source/$folder" "$work/share/"
  done
}

read_entry() { # the image's fields in images.lock, into the array `entry`
  local key value within=no
  entry=()
  [ -f "$images" ] || return 0
  while read -r key value; do
    case $key in
      "$name:") within=yes ;;
      *:) [ -n "$value" ] || within=no; [ $within = no ] || entry[${key%:}]=$value ;;
    esac
  done <"$images"
}

write_entry() { # the array `entry` in place of the image's fields
  local new field
  new=$(mktemp "$images.XXXXXX"); scratch+=("$new")
  {
    echo "# Written by containers/build.sh; an entry is replaced when its image is built or signed."
    [ ! -f "$images" ] || awk -v name="$name:" '/^#/ {next} /^[^ ]/ {other = ($0 != name)} other' "$images"
    echo "$name:"
    for field in "${fields[@]}"; do [ -z "${entry[$field]:-}" ] || echo "  $field: ${entry[$field]}"; done
  } >"$new"
  chmod 644 "$new"
  mv -- "$new" "$images"
}

publish() { # publish SIF: into its place, with its digest and size in images.lock
  entry[sif_sha256]=$(sha256_of "$1")
  entry[size_bytes]=$(stat -c %s -- "$1")
  mv -- "$1" "$sif"
  write_entry
  say "$sif: ${entry[size_bytes]} bytes, SHA-256 ${entry[sif_sha256]}"
}

intact() { # is the SIF the one in images.lock?
  [ -f "$sif" ] && [ "${entry[sif_sha256]:-none}" = "$(sha256_of "$sif")" ]
}

need_apptainer() { # need_apptainer APPTAINER SINGULARITYCE: the least versions of either
  local least=$1
  find_container || die "neither apptainer nor singularity is on the PATH: install Apptainer $1 or SingularityCE $2, or later"
  apptainer_version=$("$container" --version)
  case $apptainer_version in
    apptainer*) ;;
    *) least=$2 ;;
  esac
  apptainer_version=${apptainer_version##* }
  [ "$(printf '%s\n' "$least" "$apptainer_version" | sort -V | head -n1)" = "$least" ] ||
    die "$("$container" --version) is too old: install Apptainer $1 or SingularityCE $2, or later"
}

# What of the environment would change an image, or put the host's files into it, is not for a build.
scrub_environment() {
  local name
  export TMPDIR=${TMPDIR:-${APPTAINER_TMPDIR:-${SINGULARITY_TMPDIR:-/tmp}}}
  for name in $(compgen -e); do
    case $name in
      *_CACHEDIR | *_CONFIGDIR | *_DOCKER_*) ;;
      APPTAINER* | SINGULARITY* | SOURCE_DATE_EPOCH) unset "$name" ;;
    esac
  done
}

own_workplace() { # programs must start there, and its files be of the user's own group: one user is all that a build knows
  chgrp -- "$(id -g)" "$work"
  chmod u=rwx,go=,ug-s "$work"
  printf '#!/bin/sh\n' >"$work/starts" && chmod 700 "$work/starts"
  "$work/starts" 2>/dev/null ||
    die "no program starts below $TMPDIR (mounted with noexec?): set TMPDIR to a folder where one does"
}

why_not_built() { # what this host lacks, as far as it can be seen from here
  if [ "$(id -u)" != 0 ] && ! unshare --user true 2>/dev/null; then
    say "this host gives no user namespaces to $(id -un): ask the site for them (sysctl user.max_user_namespaces)," \
      "or build where there are some and carry the SIF, with images.lock, to here"
  fi
  [ "$(df -Pk -- "$work" | awk 'NR == 2 {print $4}')" -gt 1000000 ] ||
    say "there is little room left for $work: set TMPDIR to a folder with more"
}

build_tree() { # into $work/tree, by the definition
  local flags=()
  # The build's user namespace need not know the base's owners, so all of it must be readable without them.
  tar -C "$work/base" --no-same-owner --no-same-permissions -xzf "$wheelhouse/base.tar.gz" || return
  chmod -R u+rwX,go+rX "$work/base" && ln -s -- "$wheelhouse" "$work/wheels" || return
  # Apptainer gives everybody else a user namespace anyway; root needs it where it lacks capabilities, as inside a container.
  if { [ "$(id -u)" = 0 ] || [ "$container" = singularity ]; } && grep -qs "^$(id -un):" /etc/subuid; then flags=(--fakeroot); fi
  # Nothing changes an owner here: one user is enough, and then neither /etc/subuid nor a `fakeroot` is asked for.
  (
    cd "$work" || exit
    [ "$(id -u)" = 0 ] || export APPTAINER_IGNORE_SUBUID=1 APPTAINER_IGNORE_FAKEROOT_COMMAND=1
    TMPDIR=$work "$container" build "${flags[@]}" --bind "$work/wheels:/mnt:ro" --build-arg-file arguments --sandbox \
      "$work/tree" "$here/mlipilot.def"
  ) >&2
}

build_image() {
  local new sbom=$output/$name.cdx.json
  need_apptainer 1.2 4.0
  own_workplace
  if [ ! -e "$wheelhouse" ]; then
    [ $offline = no ] || die "no wheelhouse in $wheelhouse: make it where there is a package index" \
      "('build.sh wheelhouse $variant') and carry it here"
    make_wheelhouse
  fi
  say "checking $wheelhouse"
  check_wheelhouse
  mkdir -p "$work/base" "$work/source" "$work/share" "$output"
  stage_sources
  wheelhouse_digest=sha256:$(sha256_of "$wheelhouse/SHA256SUMS")
  read_entry
  if [ "${entry[wheelhouse_digest]:-} ${entry[source_digest]:-}" = "$wheelhouse_digest $source_digest" ] && intact; then
    say "$sif is up to date"
    return
  fi
  entry=(
    [file]=$name.sif [variant]=$variant
    [version]=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$root/pyproject.toml" | head -n1)
    [base_digest]=sha256:$(sha256_of "$wheelhouse/base.tar.gz") [lock_digest]=sha256:$(sha256_of "$lock")
    [source_digest]=$source_digest [source_git_tree]=$git_tree [wheelhouse_digest]=$wheelhouse_digest
    [apptainer_version]=$apptainer_version [signed]=false
  )
  cat >"$work/arguments" <<ARGUMENTS
VARIANT=$variant
VERSION=${entry[version]}
BASE_DIGEST=${entry[base_digest]}
LOCK_DIGEST=${entry[lock_digest]}
SOURCE_DIGEST=$source_digest
GIT_TREE=$git_tree
ARGUMENTS
  build_tree || { why_not_built; refuse "the image was not built ($container's words are above)"; }
  new="$output/.$name.$$.sif"; scratch+=("$new" "$new.cdx.json")
  cp -- "$work/tree/opt/mlipilot/share/sbom.cdx.json" "$new.cdx.json"
  pack_sif "$work/tree" "$new"
  entry+=([mksquashfs_version]=$mksquashfs_version [sbom_file]=${sbom##*/} [sbom_digest]=sha256:$(sha256_of "$new.cdx.json"))
  mv -- "$new.cdx.json" "$sbom"
  publish "$new"
}

sign_image() {
  local new="$output/.$name.$$.sif"
  need_apptainer 1.2 3.11
  read_entry
  intact || refuse "$sif is not the one in $images: build it again before it is signed"
  [ -f "$key" ] || die "$key: no such private key"
  scratch+=("$new")
  cp -- "$sif" "$new"
  "$container" sign --key "$key" "$new" >&2 ||
    die "$key could not sign ($container's words are above): it must be a PEM private key"
  entry[signed]=true
  publish "$new"
}

verify_image() {
  local public=${key:-${MLIPILOT_PUBLIC_KEY:-}} sbom
  read_entry
  [ -n "${entry[sif_sha256]:-}" ] || die "$images has no $name: build it with 'build.sh image $variant'"
  intact || refuse "$sif is missing or is not the one in $images, SHA-256 ${entry[sif_sha256]}: do not run it"
  sbom=$output/${entry[sbom_file]:-}
  [ ! -f "$sbom" ] || [ "${entry[sbom_digest]}" = "sha256:$(sha256_of "$sbom")" ] ||
    refuse "$sbom is not the bill of materials in $images: the image has it in /opt/mlipilot/share"
  if [ -z "$public" ]; then
    say "$sif is the one in $images; its signature was not checked (no public key)"
    return
  fi
  need_apptainer 1.2 3.11
  [ -f "$public" ] || die "$public: no such public key"
  "$container" verify --key "$public" "$sif" >&2 || refuse "$sif is not signed by the owner of $public: do not run it"
  say "$sif is the one in $images and is signed by the owner of $public"
}

# shellcheck source-path=SCRIPTDIR source=../sbatch/container.sh
source "$root/sbatch/container.sh"
# shellcheck source-path=SCRIPTDIR source=pinned.sh
source "$here/pinned.sh"
# shellcheck source-path=SCRIPTDIR source=wheelhouse.sh
source "$here/wheelhouse.sh"
# shellcheck source-path=SCRIPTDIR source=sif.sh
source "$here/sif.sh"
scrub_environment

[ $# -gt 0 ] || { usage >&2; exit 2; }
verb=$1; shift
variants=() offline=no output=$here wheelhouse='' base='' key=''
while [ $# -gt 0 ]; do
  case $1 in
    cpu | cuda) variants+=("$1") ;;
    --offline) offline=yes ;;
    --base) [ $# -gt 1 ] || die "--base needs a source, such as docker://NAME@sha256:DIGEST"; base=$2; shift ;;
    --output | --wheelhouse) [ $# -gt 1 ] || die "$1 needs a folder"; declare "${1#--}=$(realpath -m -- "$2")"; shift ;;
    -h | --help) usage; exit 0 ;;
    *.pem) key=$1 ;;
    *) die "$1: unknown; 'build.sh --help' has the verbs and options" ;;
  esac
  shift
done
variant=${variants[0]:-cpu}
lock=$here/requirements-$variant.lock wheelhouse=${wheelhouse:-$here/wheelhouse-$variant}
name=mlipilot-$variant images=$output/images.lock sif=$output/mlipilot-$variant.sif
declare -A entry=()
work=$(mktemp -d "$TMPDIR/mlipilot-build.XXXXXX"); scratch=("$work")
trap 'chmod -R u+w "$work" 2>/dev/null; rm -rf -- "${scratch[@]}"' EXIT
case $verb in
  -h | --help | help) usage ;;
  lock)
    [ ${#variants[@]} = 0 ] || die "lock takes no variant: the files are made together"
    python_venv
    for variant in cpu cuda dev build; do make_lock "$variant"; done
    ;;
  wheelhouse) make_wheelhouse; check_wheelhouse ;;
  image) build_image ;;
  sign) [ -n "$key" ] || die "sign needs a private key, KEY.pem"; sign_image ;;
  verify) verify_image ;;
  *) die "$verb: no such verb; 'build.sh --help' has them" ;;
esac
