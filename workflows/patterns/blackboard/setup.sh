#!/usr/bin/env sh
# What the pattern needs, once: the board, the workflows, and who is handed what.
set -eu
# Changes are events; `open` counts the problems that are not solved yet, `words` adds up what was found.
consort state set board --events --policy open=counter --policy words=counter
for workflow in split count finish; do
  consort workflows deploy "$workflow.yaml"
done
# Each subscribes to a pattern of keys, with a condition on the value.
consort triggers set split --topic state.board.changed --start split --filter 'event.subject.startsWith("problems/") && event.data.change == "put" && size(event.data.value.split(" ")) > 3' --input '{"problem": event.subject, "text": event.data.value}'
consort triggers set count --topic state.board.changed --start count --filter 'event.subject.startsWith("problems/") && event.data.change == "put" && size(event.data.value.split(" ")) <= 3' --input '{"problem": event.subject, "text": event.data.value}'
# Nothing is open any more: nothing can come, as what adds a problem counts it in the same transaction.
consort triggers set finish --topic state.board.changed --start finish --filter 'event.subject == "open" && event.data.value == 0' --input '{}'
