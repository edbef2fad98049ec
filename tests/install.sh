#!/bin/sh
# Install what the integration tests need: a JDK, Maven, redis-server (Debian) and Kafka's jars (Maven Central, cached
# outside the repository). Safe to run again; quick when everything is there.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/stream-guard
jars=$cache/kafka-4.3.0
packages=""
command -v java > /dev/null || packages="$packages default-jdk-headless"
command -v mvn > /dev/null || packages="$packages maven"
command -v redis-server > /dev/null || packages="$packages redis-server"
if [ -n "$packages" ]; then
  sudo=""
  [ "$(id -u)" = 0 ] || sudo=sudo
  $sudo apt-get update
  # shellcheck disable=SC2086 # a list of packages
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $packages
fi
if [ ! -e "$jars/complete" ]; then
  mkdir -p "$jars"
  mvn -q -B -f "$here/kafka/pom.xml" dependency:copy-dependencies -DoutputDirectory="$jars" -DincludeScope=runtime
  touch "$jars/complete"
fi
echo "ready: $(java -version 2>&1 | head -n 1), $(redis-server --version | cut -d' ' -f3), Kafka jars in $jars"
