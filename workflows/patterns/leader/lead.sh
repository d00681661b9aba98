#!/usr/bin/env sh
# Leads under a name, while the lock `leader` is held: `consort locks run leader --wait 1h -- sh lead.sh NAME`.
# The lock and its fencing token are in the environment.
set -eu
echo "$CONSORT_LOCK_TOKEN" >"$1.token"
echo $$ >"$1.pid"
consort run -q duty.yaml -i leader="$1" -i token="$CONSORT_LOCK_TOKEN"
# A leader has more to do than this one, which now waits to be stopped.
exec tail -f /dev/null
