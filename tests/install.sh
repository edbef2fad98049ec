#!/bin/sh
# Install what the integration tests need: a JDK, Maven, the packages of apt-packages.txt (Debian) and Kafka's jars
# (Maven Central, cached outside the repository). Safe to run again; quick when everything is there.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/stream-guard
jars=$cache/kafka-4.3.0
packages=""
command -v java > /dev/null || packages="$packages default-jdk-headless"
command -v mvn > /dev/null || packages="$packages maven"
while read -r package; do
  dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null | grep -qx installed || packages="$packages $package"
done < "$here/apt-packages.txt"
if [ -n "$packages" ]; then
  sudo=""
  [ "$(id -u)" = 0 ] || sudo=sudo
  # The tests start their own servers on loopback; Debian's would start at once, some of them on every address.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" > /dev/null
    $sudo chmod 755 "$policy"
    trap '$sudo rm -f "$policy"' EXIT
  fi
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
