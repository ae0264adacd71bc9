#!/usr/bin/env bash
# All checks: format, lint, types, the unit suite, then a short campaign end to end with its faults.
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
install dev
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 PYTHONHASHSEED=0
say "ruff"
"$venv/bin/ruff" format --check .
"$venv/bin/ruff" check .
say "mypy --strict"
"$venv/bin/mypy"
say "unit tests"
"$venv/bin/pytest" -n 2 -m "not slow" --durations=10
say "end-to-end tests"
"$venv/bin/pytest" -n 2 --dist loadgroup -m slow --durations=10
