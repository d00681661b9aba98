#!/usr/bin/env sh
# What the pattern needs, once: three subscribers, of which two take deliveries and one is a trigger.
set -eu
consort subscriptions create mail --topic 'news.*' --ordered subject
consort subscriptions create sport --topic news.sport --max-deliveries 2 --back-off 1ms,1ms
consort workflows deploy archive.yaml
consort triggers set archive --topic 'news.*' --start archive
