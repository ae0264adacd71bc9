# shellcheck shell=bash disable=SC2034,SC2154  # who sources this sets `image`, `container` and `script`, and reads `digest`
# The image on its host, sourced by campaign.sh and mlipilot: whether it is the one that was built, and what of the
# environment is told to the toolkit in it. Who sources this has a `fail`.

built_digest() { # what images.lock beside the image says that was built; nothing where it does not know the image
  local key value file=
  while read -r key value; do
    case $key in
      file:) file=$value ;;
      sif_sha256:) [ "$file" != "${image##*/}" ] || printf '%s' "$value" ;;
    esac
  done <"${image%/*}/images.lock"
}

hash_image() { # sets `digest`, the SHA-256 of `image`
  local built
  sha256_of_image "$image" "$MLIPILOT_HASH_ALWAYS" || fail "$image cannot be read: see its rights and its file system"
  built=$(built_digest 2>/dev/null)
  [ "${built:-$digest}" = "$digest" ] || fail "$image is not the one in images.lock beside it ($built); this one is $digest"
}

check_signature() { # where the site has its images signed
  [ -n "$MLIPILOT_PUBLIC_KEY" ] || return 0
  "$container" verify --key "$MLIPILOT_PUBLIC_KEY" "$image" >/dev/null 2>&1 ||
    fail "$image is not signed by the owner of $MLIPILOT_PUBLIC_KEY: do not run it"
}

# Addresses and keys of endpoints; the named pilots' are those of mlipilot/pilots/named.yaml, which a host need not have.
of_endpoints=(OPENAI_BASE_URL OPENAI_API_KEY REQUESTS_CA_BUNDLE HTTPS_PROXY NO_PROXY
  MISTRAL_24B_BASE_URL MISTRAL_24B_API_KEY QWEN3_32B_BASE_URL QWEN3_32B_API_KEY)

own_variables() { # own_variables CAMPAIGN.yaml [OPTION…]: those that the campaign itself names for addresses and keys
  { cat -- "$1" 2>/dev/null; printf '%s\n' "${@:2}"; } | sed 's/^ *#.*//' |
    grep -oE "(base_url|api_key)_env[\"']? *[:=] *[\"']?[A-Za-z_][A-Za-z0-9_]*" | grep -oE '[A-Za-z0-9_]+$'
}

pass_on() { # pass_on NAME…: to the toolkit through the environment, never through a command line
  local name
  for name in "$@"; do
    [[ $name =~ ^[A-Za-z_][A-Za-z0-9_]*$ ]] || fail "MLIPILOT_PASS in $script: '$name' is no name of a variable"
    [ -z "${!name:-}" ] || give_inside "$name" "${!name}"
  done
}
