#!/bin/sh
# Locks the versions of all packages, with the digests of their files; needs uv 0.11 or later.
# Run it when pyproject.toml has changed, or to take newer versions: deploy/lock.sh --upgrade
set -eu
cd "$(dirname "$0")/.."
lock="uv pip compile --quiet --universal --generate-hashes --no-emit-index-url"
$lock "$@" --custom-compile-command deploy/lock.sh --extra server \
    -o deploy/requirements.txt pyproject.toml
$lock "$@" --custom-compile-command deploy/lock.sh --group pyproject.toml:build \
    -o deploy/build-requirements.txt
