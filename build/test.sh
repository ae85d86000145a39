#!/usr/bin/env bash
# Everything that must hold before a change goes in: one line per stage with its
# time; the output of a stage is shown when it fails. Later stages still run, so
# that one look shows all that is wrong; the exit code is 1 if any failed.
set -uo pipefail
cd "$(dirname "$0")/.."

logs=build/cache/test
mkdir -p "$logs"
failed=()

# stage NAME WHAT COMMAND…
stage() {
  local name=$1 what=$2 begin log
  shift 2
  log=$logs/$name.log
  begin=$SECONDS
  printf '%-12s %-58s ' "$name" "$what"
  if "$@" >"$log" 2>&1; then
    printf 'ok   %4ds\n' $((SECONDS - begin))
    return 0
  fi
  printf 'FAIL %4ds\n' $((SECONDS - begin))
  sed "s/^/    /" "$log"
  failed+=("$name")
  return 1
}

formatted() {
  local bad
  bad=$(gofmt -l agent build configs store uplink wechat)
  [ -z "$bad" ] || { echo "not gofmt'ed, run gofmt -w on:"; echo "$bad"; return 1; }
}

vetted() {
  go vet ./... && go vet -tags gateway ./agent/cmd/... ./agent/control/... &&
    CGO_ENABLED=0 GOARCH=arm go vet ./...
}

checked() {
  go tool -modfile=build/tools/go.mod staticcheck ./... &&
    go tool -modfile=build/tools/go.mod staticcheck -tags gateway ./agent/cmd/...
}

# others lists the packages whose tests need no built binary.
others() { go list ./... | grep -v '/build/e2e$'; }

raced() { go test -race -timeout 8m $(others); }
narrow() { CGO_ENABLED=0 GOARCH=386 go test -timeout 8m ./store/... ./agent/scan/... ./agent/intake/... ./wechat/...; }

# foreign runs the tests of store as the gateways' processors do, fewer of them:
# those that start processes can't under an emulator.
foreign() {
  local bin=$PWD/build/cache/store-foreign.test
  for cpu in arm arm64; do
    local emulator=qemu-${cpu/arm64/aarch64}-static
    echo "$cpu"
    CGO_ENABLED=0 GOARCH=$cpu GOARM=7 go test -c -o "$bin" ./store &&
      (cd store && "$emulator" "$bin" -test.short -test.timeout 7m -model.runs 4 -stress.runs 1 \
        -test.skip 'TestKill|TestPowerCut|AgreeWithBolt|TestFailingSystemCalls|TestReadsAreTriedAgain') || return 1
  done
}
whole() { go test -race -count=1 -timeout 9m ./build/e2e; }

# reproducible builds the tree in another folder and compares the bytes.
reproducible() {
  local dir same
  dir=$(mktemp -d) || return 1
  cp -r Makefile go.mod go.sum agent configs store uplink wechat "$dir"
  for where in . "$dir"; do
    make -s -C "$where" build VERSION=same COMMIT=same DATE=same BIN="$dir/bin-${where//[^a-z]/}" || return 1
  done
  cmp "$dir"/bin-*
  same=$?
  rm -rf "$dir"
  return $same
}

# units has systemd read the units, with a program that is there in place of ours.
units() {
  local dir out
  dir=$(mktemp -d) || return 1
  for unit in build/packaging/*.service; do
    sed 's|^ExecStart=/usr/bin/scanrelay |ExecStart=/bin/true |' "$unit" >"$dir/${unit##*/}"
  done
  out=$(systemd-analyze verify --man=no "$dir"/*.service 2>&1)
  rm -rf "$dir"
  [ -z "$out" ] || { echo "$out"; return 1; }
}

begin=$SECONDS
stage setup "brokers, a browser, fonts, a C compiler" build/setup-tests.sh || exit 1
stage build "the binary for this machine" make -s build
stage format "gofmt" formatted
stage vet "go vet, both builds, 32-bit too" vetted
stage staticcheck "staticcheck, both builds" checked
stage units "systemd takes the units" units
stage race "tests with the race detector" raced
stage 386 "tests of store, scan, intake and wechat on 32 bits" narrow
stage foreign "tests of store as armv7 and arm64, emulated" foreign
stage e2e "the built binary against real brokers" whole
stage cross "linux armv6 armv7 arm64 amd64 riscv64" make -s cross BUILDS=full
stage same "the same bytes from another folder" reproducible
stage size "the gateway binary stays under its limit" make -s size && cat "$logs/size.log"

if [ ${#failed[@]} -gt 0 ]; then
  echo "FAILED after $((SECONDS - begin))s: ${failed[*]}"
  exit 1
fi
echo "all passed in $((SECONDS - begin))s"
