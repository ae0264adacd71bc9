# shellcheck shell=bash disable=SC2154  # build.sh sets what is read here
# Sourced by build.sh: how a root file system becomes a SIF, so that the same files give the same bytes. What
# `apptainer build` writes by itself holds the time of the build in many places, and a random number.

mksquashfs_knows() { [[ $(mksquashfs -help 2>&1 || true) == *"$1"* ]]; }

# pack_sif TREE SIF: sets `mksquashfs_version`. Owners, times and extended attributes are the machine's, not the image's.
pack_sif() {
  local tree=$1 new=$2 files=$work/files.squashfs options=(-all-root -no-xattrs -noappend -no-progress)
  local PATH=$PATH:/usr/sbin:/sbin
  need mksquashfs "install squashfs-tools"
  mksquashfs_version=$(mksquashfs -version 2>/dev/null | sed -n 's/^mksquashfs version \([^ ]*\).*/\1/p')
  # zstd is several times quicker than gzip to write and to read
  ! mksquashfs_knows zstd || options+=(-comp zstd -Xcompression-level 3)
  if mksquashfs_knows -all-time; then
    options+=(-mkfs-time 0 -all-time 0)
  else
    say "mksquashfs $mksquashfs_version is older than 4.4: the image is good, but nobody can build the same bytes again"
  fi
  sed -i 's/\("org.label-schema.build-date": "\)[^"]*/\1Thursday_1_January_1970_0:0:0_UTC/' "$tree/.singularity.d/labels.json"
  mksquashfs "$tree" "$files" "${options[@]}" >"$work/mksquashfs.log" 2>&1 ||
    { cat "$work/mksquashfs.log" >&2; refuse "the file system was not packed (mksquashfs's words are above)"; }
  # As `build` has it: what `inspect` shows without a container, and the definition.
  "$container" inspect --json --all "$tree" >"$work/inspect-metadata.json" || refuse "the image cannot be inspected"
  rm -f -- "$new"
  {
    "$container" sif new "$new" &&
      "$container" sif add --datatype 1 --groupid 1 --filename mlipilot.def "$new" "$tree/.singularity.d/Singularity" &&
      "$container" sif add --datatype 6 --groupid 1 --filename inspect-metadata.json "$new" "$work/inspect-metadata.json" &&
      "$container" sif add --datatype 4 --groupid 1 --filename files.squashfs --partfs 1 --parttype 2 --partarch 2 \
        "$new" "$files"
  } >&2 || refuse "no SIF was made ($container's words are above)"
  rm -f -- "$files"
  forget_when "$new" 3
  chmod 755 "$new"
}

zero() { # zero FILE OFFSET LENGTH
  dd if=/dev/zero of="$1" bs=1 seek="$2" count="$3" conv=notrunc status=none
}

# forget_when SIF OBJECTS: set the numbers in its headers to zero that differ from build to build. Of format 01 they are
# little-endian and packed; the offsets are those of `header` and `rawDescriptor` in pkg/sif/sif.go of apptainer/sif:
#
#   global header      0 launch script [32], 32 "SIF_MAGIC" [10], 42 version [3], 45 architecture [3],
#                     48 UUID [16], 64 created [8], 72 modified [8], …
#   at 4096, 585 each  0 type [4], 4 used [1], 5 id [4], 9 group [4], 13 link [4], 17 offset [8], 25 size [8],
#                     33 size with padding [8], 41 created [8], 49 modified [8], …
forget_when() {
  local number said
  [ "$(dd if="$1" bs=1 skip=32 count=12 status=none | tr -d '\0')" = SIF_MAGIC01 ] ||
    refuse "$("$container" --version) writes a SIF of another format than 01"
  zero "$1" 48 32
  for ((number = 0; number < $2; number++)); do zero "$1" $((4096 + 585 * number + 41)) 16; done
  # The program reads it back: had one of the times been elsewhere, it would say so here.
  said=$("$container" sif header "$1" && for ((number = 1; number <= $2; number++)); do "$container" sif info "$number" "$1"; done) ||
    refuse "$container does not read the SIF that it wrote"
  [ "$(grep -cE '(Created|Modified) At: +1970-01-01 00:00:00' <<<"$said")" = $(($2 * 2 + 2)) ] ||
    refuse "$("$container" --version) has the times of a SIF elsewhere than containers/sif.sh expects them"
}
