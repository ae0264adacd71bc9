# shellcheck shell=bash
# Sourced by build.sh and ci/environment.sh: the tools that install and build are pinned themselves.

install_builders() { # install_builders VENV LOCKS: pip, and what builds; by the pip that a new environment has
  "$1/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
    -r "$2/requirements-build.lock"
}
