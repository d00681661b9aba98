#!/usr/bin/env sh
# What the pattern needs, once: changes of the space are events, so that others can see how far a report is.
set -eu
consort state set reports --events
