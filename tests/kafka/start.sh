#!/bin/sh
# Start one Kafka node in the foreground: start.sh DATA_DIR PORT CONTROLLER_PORT [PROPERTIES [ARGUMENTS OF FORMAT …]]
# PROPERTIES is a file whose lines win over those below.
# The data directory is formatted the first time and kept afterwards, so a restart finds its records again.
set -eu
data=$1 port=$2 controller=$3
jars=${STREAM_GUARD_KAFKA_JARS:-${XDG_CACHE_HOME:-$HOME/.cache}/stream-guard/kafka-4.3.0}
[ -d "$jars" ] || { echo "no Kafka jars in $jars: run tests/install.sh" >&2; exit 1; }
mkdir -p "$data"
cat > "$data/server.properties" <<EOF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$data/log
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=300
group.min.session.timeout.ms=1000
auto.create.topics.enable=false
num.network.threads=2
num.io.threads=2
log.cleaner.dedupe.buffer.size=4194304
EOF
if [ $# -gt 3 ]; then
  cat "$4" >> "$data/server.properties"
  shift 4
else
  shift $#
fi
run() { java -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$jars/*" "$@"; }
if [ ! -e "$data/formatted" ]; then
  run kafka.tools.StorageTool format -t stream-guard-tests-0000 -c "$data/server.properties" "$@" > "$data/format.out" 2>&1 \
    || { cat "$data/format.out" >&2; exit 1; }
  touch "$data/formatted"
fi
exec java -Xmx512m -XX:+UseSerialGC -cp "$jars/*" kafka.Kafka "$data/server.properties"
