#!/usr/bin/env sh
# What the pattern needs, once: the stock, the workflows, and a trigger for each reaction to an event.
set -eu
consort state put stock pieces 2
for workflow in reserve-stock take-payment release-stock ship-order; do
  consort workflows deploy "$workflow.yaml"
done
consort triggers set reserve --topic orders.placed --start reserve-stock
consort triggers set pay --topic stock.reserved --start take-payment
consort triggers set release --topic payments.refused --start release-stock
consort triggers set ship --topic payments.taken --start ship-order
