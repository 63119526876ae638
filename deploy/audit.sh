#!/bin/sh
# Asks PyPI whether a locked version has a known vulnerability; needs pip-audit and the network.
# It is no part of .ci/run: a finding is news of the world, not of a change. An answer such as
# "could not be audited" means that the registry in use has no such data.
set -eu
cd "$(dirname "$0")"
exec pip-audit --strict --require-hashes --disable-pip -r requirements.txt
