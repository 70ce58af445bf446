#!/bin/sh
# Make the audit topic, or check and mend the one there is. Settings come from the environment: --help lists them.
# Without TRAILSEAL_KAFKA_BOOTSTRAP and TRAILSEAL_LOG it takes the broker that scripts/servers runs.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
if [ -z "${TRAILSEAL_KAFKA_BOOTSTRAP:-}${TRAILSEAL_LOG:-}${TRAILSEAL_KAFKA_CLIENT_CONFIG:-}" ] && [ -x "$here/servers" ]; then
    eval "$("$here/servers" env kafka)"
    export TRAILSEAL_KAFKA_BOOTSTRAP="$TRAILSEAL_TEST_KAFKA"
fi
for python in "${PYTHON:-}" "$here/../.venv/bin/python" python3; do
    [ -n "$python" ] || continue
    if "$python" -c 'import confluent_kafka, trailseal' 2>/dev/null; then
        exec "$python" -m trailseal.adapters.logs.kafka_topics "$@"
    fi
done
echo "setup_kafka: no Python with trailseal[cluster] found: run scripts/run first, or name one in PYTHON" >&2
exit 1
