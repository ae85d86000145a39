#!/usr/bin/env bash
# Everything that must hold before a change goes in: one line per stage with its
# time; the output of a stage is shown when it fails. Later stages still run, so
# that one look shows all that is wrong; the exit code is 1 if any failed.
set -uo pipefail
cd "$(dirname "$0")/.."
. build/checks.sh
trap 'trap - TERM; kill 0' INT TERM # what runs beside ends as well

# A program with the race detector waits a second before it ends, for what still
# runs; the tests' programs are ended by the hundred, and wait for their own.
export GORACE=atexit_sleep_ms=0

# raced tests all but what needs the built binary, and first what takes longest.
# What is tried by chance is tried a few times only: narrow does all.
raced() {
  # shellcheck disable=SC2046
  go test -race -short -vet=off -timeout $hangs $(go list ./store ./agent/cmd/scanrelay ./uplink ./agent/demo ./... | grep -v '/build/e2e$')
}

# narrow tests on 32 bits, all that is tried by chance as often as it may be: as 386
# where the kernel runs that, else so on 64 bits, and as armv7 what foreign does not
# test anyway.
narrow() {
  export CGO_ENABLED=0
  # shellcheck disable=SC2046
  if runs_386; then
    GOARCH=386 go test -vet=off -timeout $hangs $(narrow_rooms)
  else
    go test -vet=off -timeout $hangs ./store/... &&
      emulated arm $(comm -23 <(narrow_rooms | sort) <(foreign_rooms | sort))
  fi
}

# foreign runs what is tested as other processors at once: each spends most of its
# time in the tests of one package, and those use one core.
foreign() {
  local jobs=() job ok=0
  # shellcheck disable=SC2046
  {
    narrow 2>&1 | sed 's/^/32 bits: /' & jobs+=($!)
    emulated arm $(foreign_rooms) 2>&1 | sed 's/^/armv7: /' & jobs+=($!)
    emulated arm64 $(foreign_rooms) 2>&1 | sed 's/^/arm64: /' & jobs+=($!)
  }
  for job in "${jobs[@]}"; do wait "$job" || ok=1; done
  return $ok
}

# whole runs more tests at once than there are cores: they mostly wait. The binaries
# are what is tested; the rig and the simulated WeChat around them are raced as
# packages of their own.
whole() { CGO_ENABLED=0 go test -vet=off -count=1 -parallel 4 -timeout $hangs -skip '^TestGateways$' ./build/e2e; }

# packaged makes the packages of all machines and has lintian look at them.
packaged() {
  rm -f build/dist/*.deb
  make -s packages VERSION=0.0.1 COMMIT=same DATE=2026-01-01T00:00:00Z &&
    lintian --allow-root --fail-on error,warning --suppress-tags unreleased-changes build/dist/*.deb
}

# gateways runs the programs of the packages as the gateways' processors do, end to end.
gateways() {
  local dir machine ok
  dir=$(mktemp -d) || return 1
  for machine in armhf arm64; do
    dpkg-deb --fsys-tarfile build/dist/scanrelay-agent_*_$machine.deb | tar xO ./usr/lib/scanrelay/scanrelay >"$dir/$machine" &&
      chmod +x "$dir/$machine" || return 1
  done
  CGO_ENABLED=0 GATEWAYS=$dir go test -vet=off -count=1 -timeout $hangs -run '^TestGateways$' ./build/e2e
  ok=$?
  rm -rf "$dir"
  return $ok
}

# reproducible makes the packages in another folder, too, and compares the bytes.
reproducible() {
  local dir same
  dir=$(mktemp -d) || return 1
  cp -r Makefile go.mod go.sum agent configs store uplink wechat "$dir"
  mkdir -p "$dir/build" && cp -r build/packaging build/VERSION build/version.sh "$dir/build"
  make -s -C "$dir" packages VERSION=0.0.1 COMMIT=same DATE=2026-01-01T00:00:00Z >"$dir/log" 2>&1 &&
    cmp build/dist/SHA256SUMS "$dir/build/dist/SHA256SUMS"
  same=$?
  [ $same = 0 ] || cat "$dir/log"
  rm -rf "$dir"
  return $same
}

# units has systemd read the units, with a program that is there in place of ours.
units() {
  local dir out
  dir=$(mktemp -d) || return 1
  for unit in build/packaging/*.service build/packaging/*.path; do
    sed 's|^ExecStart=[^ ]* |ExecStart=/bin/true |' "$unit" >"$dir/${unit##*/}"
  done
  out=$(systemd-analyze verify --man=no "$dir"/* 2>&1)
  rm -rf "$dir"
  [ -z "$out" ] || { echo "$out"; return 1; }
}

stage setup "brokers, a browser, fonts, a C compiler, emulators" build/setup-tests.sh || exit 1
stage build "the binary for this machine" make -s build
# What waits goes beside what computes.
stage e2e "the built binary against real brokers, with kills" whole & e2e=$!
stage format "gofmt" formatted
stage vet "go vet, both builds, 32-bit too" vetted
stage staticcheck "staticcheck, both builds" checked
stage units "systemd takes the units" units
stage packages "linux armv6 armv7 arm64 amd64 riscv64, packed; lintian" packaged
stage install "packages in a Debian of their own: installed, upgraded, purged" build/packaging/install-test.sh
stage gateways "programs of the packages under emulation, end to end" gateways
stage same "the same bytes from another folder" reproducible
stage size "the gateway binary stays under its limits" make -s size && cat "$logs/size.log"
wait $e2e
# What one of them waits for, the others compute.
stage race "all tests but e2e, with the race detector" raced & race=$!
if runs_386; then
  stage foreign "as 386: store, scan, intake, wechat; as armv7, arm64: store" foreign
else
  stage foreign "as armv7: store, scan, intake, wechat; arm64: store (no 386)" foreign
fi
wait $race
summary
