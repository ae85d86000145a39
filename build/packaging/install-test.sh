#!/usr/bin/env bash
# Installs the packages in build/dist in a throw-away Debian under a systemd of its
# own, goes the way of a depot engineer, and takes them away again. It needs root, or
# sudo that asks for nothing, and a kernel that runs systemd-nspawn.
set -euo pipefail
cd "$(dirname "$0")/../.."
sudo=
[ "$(id -u)" = 0 ] || sudo='sudo -n'
root=$(mktemp -d)
chmod 755 "$root" # what is / to its users
trap '$sudo rm -rf --one-file-system "$root"' EXIT

$sudo debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,mosquitto-clients bookworm "$root" >"$root.log" 2>&1 ||
  { tail -n 20 "$root.log"; exit 1; }
rm -f "$root.log"
arch=$(dpkg --print-architecture)
$sudo cp build/dist/scanrelay-{agent,central}_*_"$arch".deb build/dist/scanrelay-agent_*_"$arch".tar.gz store/testdata/7b28d06/{clean.tar.gz,agent.yaml} "$root/srv/"

# Two releases, as who publishes makes them: one that is good, and one that ends at once.
release=$(mktemp -d)
trap '$sudo rm -rf --one-file-system "$root" "$release"' EXIT
make -s "cross/gateway/$arch" VERSION=0.0.2 COMMIT=same DATE=2026-01-02T00:00:00Z DIST="$release"
mkdir "$release/good" "$release/bad"
mv "$release/scanrelay-gateway-linux-$arch" "$release/good/scanrelay"
cp /bin/false "$release/bad/scanrelay"
publish="build/dist/scanrelay-linux-$arch release"
echo of-the-test >"$release/phrase"
$publish init "$release/repo" --passphrase-file "$release/phrase"
sign() {
  $publish sign "$release/repo" --passphrase-file "$release/phrase" \
    --key "$release/repo/keys/targets.key" --key "$release/repo/keys/snapshot.key" --key "$release/repo/keys/timestamp.key"
}
$publish add "$release/repo" --version 0.0.2 "$release/good/scanrelay"
sign
$publish bundle "$release/repo" --version 0.0.2 --os-arch "linux/$arch" --to "$release/good.bundle"
$publish add "$release/repo" --version 0.0.3 "$release/bad/scanrelay"
sign
$publish bundle "$release/repo" --version 0.0.3 --os-arch "linux/$arch" --to "$release/bad.bundle"
$sudo cp "$release"/*.bundle "$release/repo/root.json" "$root/srv/"
$sudo tee "$root/srv/try.sh" >/dev/null <<'TRY'
#!/bin/bash
# Runs within, as a service once all others have started.
set -eux -o pipefail
trap 'systemctl poweroff' EXIT
cd /srv
is() { [ "$(systemctl is-active "$1" || true)" = "$2" ]; } # SERVICE STATE
pid() { systemctl show -p MainPID --value scanrelay-agent; }
received() { scanrelay status --json | sed 's/.*"received":\([0-9]*\).*/\1/'; }
stored() { [ "$(received)" = "$1" ]; }

# Nothing starts before there is a configuration; init writes one that check takes.
dpkg -i scanrelay-agent_*.deb | tee said
grep -q "run 'scanrelay init agent'" said
is scanrelay-agent inactive
scanrelay init agent --depot-id hz-01 --depot-name 杭州 --centre http://127.0.0.1:8080 --token a-long-static-token --mqtt-listen 127.0.0.1:1883
[ "$(stat -c %a:%U:%G /etc/scanrelay/agent.yaml)" = 640:root:scanrelay ]
scanrelay check
systemctl start scanrelay-agent
scan() { mosquitto_pub -h 127.0.0.1 -u scanner -P "$(cat /etc/scanrelay/scanner.password)" -q 1 -t scans/x \
  -m "{\"waybill_id\":\"YT690063471690$1\",\"action_type\":200001,\"action_msg\":\"x\"}"; }
scan 1
stored 1
systemctl reload scanrelay-agent # on a system without procps
is scanrelay-agent active

# Both on one machine: the command is the centre's, which has all.
dpkg -i scanrelay-central_*.deb
scanrelay init central --appid wx0123456789abcdef --secret s3cret-of-the-app --origin https://centre.example.com
scanrelay check -c /etc/scanrelay/central.yaml
systemctl start scanrelay-central
scanrelay central --help >help
is scanrelay-central active

# An upgrade restarts once and loses nothing; what is killed comes back.
before=$(pid)
dpkg -i scanrelay-agent_*.deb
is scanrelay-agent active
[ "$(pid)" != "$before" ]
stored 1
[ "$(systemctl show -p NRestarts --value scanrelay-agent)" = 0 ]
scan 2
systemctl kill -s KILL scanrelay-agent
until is scanrelay-agent active && stored 2; do sleep 1; done
systemd-analyze security --no-pager --threshold=15 scanrelay-agent >security
systemd-analyze security --no-pager --threshold=8 scanrelay-install >security
systemd-analyze security --no-pager --threshold=16 scanrelay-central >security

# A full disk holds scans back and ends nothing; with room again they are taken.
systemctl stop scanrelay-agent
mount -t tmpfs -o size=24m,mode=0750,uid=scanrelay,gid=scanrelay none /var/lib/scanrelay
systemctl start scanrelay-agent
head -c 100000000 /dev/zero >/var/lib/scanrelay/other 2>said || true
seq -f '{"waybill_id":"YT%013.0f","action_type":200001,"action_msg":"'"$(printf 'x%.0s' {1..900})"'"}' 20000 >scans
mosquitto_pub -h 127.0.0.1 -u scanner -P "$(cat /etc/scanrelay/scanner.password)" -q 1 -t scans/x -l <scans &
until scanrelay status | grep -q 'held back'; do sleep 1; done
kill %1 || true # it may have been told to come again
is scanrelay-agent active
before=$(received)
[ "$before" -gt 2 ]
rm /var/lib/scanrelay/other
scan 9
[ "$(received)" -gt "$before" ]
[ "$(systemctl show -p NRestarts --value scanrelay-agent)" = 0 ]
systemctl stop scanrelay-agent
umount /var/lib/scanrelay
systemctl start scanrelay-agent
stored 2

# A release comes on a USB stick: nobody's is taken, then it is tried, committed and runs
# on; one that ends at once is gone back from; a person goes back to the package.
update() { scanrelay update status --json | tee update; grep -q "\"version\":\"$1\".*\"state\":\"$2\"" update; } # VERSION STATE
printf 'depots:\n  - {id: hz-01, token: a-long-static-token}\n' >>/etc/scanrelay/central.yaml
systemctl restart scanrelay-central
[ "$(readlink /var/lib/scanrelay-versions/current)" = /usr/lib/scanrelay ]
if scanrelay update apply good.bundle; then false; fi
cp root.json /etc/scanrelay/update-root.json
scanrelay update apply good.bundle
[ "$(stat -c %U /var/lib/scanrelay/update/staged)" = scanrelay ] # not root's, who staged it
until update 0.0.2 committed; do sleep 1; done
[ "$(readlink /var/lib/scanrelay-versions/current)" = 0.0.2 ]
scan 3
stored 3
scanrelay update apply bad.bundle
until update 0.0.2 rolled_back && grep -q '"barred":1' update; do sleep 1; done
scan 4
stored 4
systemctl kill -s KILL scanrelay-agent
until is scanrelay-agent active && stored 4; do sleep 1; done
update 0.0.2 rolled_back
before=$(pid)
dpkg -i scanrelay-agent_*.deb # an older package changes nothing
until is scanrelay-agent active && update 0.0.2 rolled_back && stored 4; do sleep 1; done
[ "$(pid)" != "$before" ]
scanrelay update back
until update 0.0.1 rolled_back && stored 4; do sleep 1; done
[ "$(readlink /var/lib/scanrelay-versions/current)" = /usr/lib/scanrelay ]

# A removal stops it, a purge takes what init wrote, and what was stored stays.
dpkg -r scanrelay-agent
is scanrelay-agent inactive
[ -e /etc/scanrelay/agent.yaml ]
dpkg -P scanrelay-agent | tee said
grep -q "rm -r /var/lib/scanrelay" said
[ ! -e /etc/scanrelay/agent.yaml ] && [ ! -e /etc/scanrelay/depot-token ] && [ ! -e /etc/scanrelay/scanner.password ]
[ -e /var/lib/scanrelay/outbox.key ] && [ -e /etc/scanrelay/admin-token ]
scanrelay version
dpkg -P scanrelay-central
[ ! -e /usr/bin/scanrelay ] && [ ! -e /etc/scanrelay ] && [ ! -e /var/lib/scanrelay-versions ] && [ -d /var/lib/scanrelay-central ]

# The archive does the same without dpkg, and once more over a service that runs.
tar xzf scanrelay-agent_*.tar.gz
rm -rf /var/lib/scanrelay
umask 077
scanrelay-agent_*/install.sh | tee said
grep -q "run 'scanrelay init agent'" said
scanrelay init agent --depot-id hz-01 --centre http://127.0.0.1:8080 --token a-long-static-token --mqtt-listen 127.0.0.1:1883
systemctl start scanrelay-agent
scan 3
before=$(pid)
scanrelay-agent_*/install.sh
is scanrelay-agent active
[ "$(pid)" != "$before" ]
stored 1
[ -e /usr/share/man/man1/scanrelay.1.gz ]

# What release 7b28d06 stored, and how it was configured, goes on.
systemctl stop scanrelay-agent
rm -r /var/lib/scanrelay/*
tar xzf clean.tar.gz -C /var/lib/scanrelay
chown -R scanrelay:scanrelay /var/lib/scanrelay
install -m 640 -g scanrelay agent.yaml /etc/scanrelay/agent.yaml
dpkg -i scanrelay-agent_*.deb
systemctl start scanrelay-agent
stored 246
mosquitto_pub -h 127.0.0.1 -q 1 -t scans/x -m '{"waybill_id":"YT6900634716904","action_type":200001,"action_msg":"x"}'
stored 247
systemctl stop scanrelay-agent
scanrelay store check
echo ok >result
TRY
$sudo chmod +x "$root/srv/try.sh"
$sudo tee "$root/etc/systemd/system/try.service" >/dev/null <<'UNIT'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/srv/try.sh
StandardOutput=file:/srv/log
StandardError=file:/srv/log
UNIT
$sudo mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
$sudo ln -s ../try.service "$root/etc/systemd/system/multi-user.target.wants/try.service"
# Where a system does not come up there is nothing to wait for: it ends after a while.
timeout 30m $sudo systemd-nspawn --quiet --register=no --keep-unit --private-network --boot -D "$root" </dev/null >"$root/srv/boot" 2>&1 || true
[ "$($sudo cat "$root/srv/result" 2>/dev/null)" = ok ] || { $sudo tail -n 40 "$root/srv/boot" "$root/srv/log"; exit 1; }
