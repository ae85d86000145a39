#!/usr/bin/env bash
# Installs what the tests need beside Go and make, on Debian and its kin, where
# it may (root, or sudo that asks for no password). Elsewhere it names precisely
# what is missing and fails: a test that cannot run is a failed test.
set -uo pipefail

# Each line: what proves it is there | the Debian package | what it is for.
needs='mosquitto|mosquitto|a real MQTT broker
mosquitto_pub|mosquitto-clients|a real MQTT publisher
chromium|chromium|opens the pages
gcc|gcc|the race detector
libc|libc6-dev|the race detector
paho|libpaho-mqtt-dev|a device of another make
node|nodejs|runs a device of a third make
mqttjs|node-mqtt|a device of a third make
postgres|postgresql|the store of a centre of several processes
fc-list|fontconfig|finds fonts
chinese|fonts-noto-cjk|Chinese in the pages
strace|strace|spoils system calls, records what a power cut could lose
systemd-analyze|systemd|reads the units
qemu-arm-static|qemu-user-static|runs the tests of armv7
qemu-aarch64-static|qemu-user-static|runs the tests of arm64
xz|xz-utils|weighs the gateway binary
promtool|prometheus|reads metrics and alarms
zsh|zsh|completes commands
fish|fish|completes commands
man|man-db|reads the manual page
lintian|lintian|looks at the packages
debootstrap|debootstrap|a Debian to install them in
systemd-nspawn|systemd-container|a systemd for it'

# present tells whether the need with this name is met.
present() {
  case $1 in
    mosquitto) PATH=$PATH:/usr/sbin:/usr/local/sbin command -v mosquitto ;;
    chromium) command -v chromium || command -v chromium-browser || command -v google-chrome ;;
    libc) echo '#include <stdlib.h>' | gcc -E - ;;
    paho) echo '#include <MQTTClient.h>' | gcc -E - ;;
    mqttjs) NODE_PATH=/usr/share/nodejs node -e 'require("mqtt")' ;;
    postgres) ls /usr/lib/postgresql/*/bin/initdb || command -v initdb || [ -x "$(pg_config --bindir)/initdb" ] ;;
    chinese) [ -n "$(fc-list :lang=zh 2>/dev/null)" ] ;;
    *) command -v "$1" ;;
  esac >/dev/null 2>&1
}

# missing prints the lines of what is not there.
missing() {
  while IFS= read -r need; do
    present "${need%%|*}" || printf '%s\n' "$need"
  done <<<"$needs"
}

# as_root runs a command as root, or fails.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

# install fetches the packages of the needs given; the log is shown only when
# that fails.
install() {
  local packages log
  packages=$(cut -d'|' -f2 <<<"$1" | sort -u)
  command -v apt-get >/dev/null && as_root true 2>/dev/null || return 1
  log=$(mktemp)
  echo "installing: ${packages//$'\n'/ }"
  if ! { as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 update &&
    # shellcheck disable=SC2086
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 \
      install -y --no-install-recommends $packages; } >"$log" 2>&1; then
    tail -n 20 "$log"
  fi
  rm -f "$log"
}

lacking=$(missing)
if [ -n "$lacking" ]; then
  install "$lacking"
  lacking=$(missing)
fi
[ -z "$lacking" ] && exit 0

echo "The tests need what is not here and could not be installed:" >&2
while IFS='|' read -r name package purpose; do
  printf '  %-14s %s (Debian: %s)\n' "$name" "$purpose" "$package" >&2
done <<<"$lacking"
echo "Install these, then run make test again." >&2
exit 1
