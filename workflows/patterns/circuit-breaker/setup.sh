#!/usr/bin/env sh
# What the pattern needs, once: a space whose failures are counted, and a trigger that tells when a breaker opens and when its pause is over.
set -eu
consort state set breakers --events --policy failures/=counter
consort workflows deploy guarded.yaml
consort workflows deploy tell.yaml
consort triggers set breakers --topic state.breakers.changed --start tell --filter 'event.subject.startsWith("open/")' --input '{"service": event.subject.substring(5), "change": event.data.change}'
