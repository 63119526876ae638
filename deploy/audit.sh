#!/bin/sh
# Asks PyPI whether a locked version has a known vulnerability; needs pip-audit and the network.
# Exit status: 0 if none has, 1 if one has, 2 if the registry in use does not tell.
set -u
cd "$(dirname "$0")"
told=$(pip-audit --strict --progress-spinner off --require-hashes --disable-pip \
    -r requirements.txt 2>&1)
status=$?
case $told in
*"could not be audited"* | *ConnectionError* | *"Connection"*"refused"* | *Timeout*)
    echo "Not audited: the registry in use tells nothing of vulnerabilities."
    echo "$told" | tail -n 1
    exit 2
    ;;
esac
echo "$told"
exit "$status"
