# What make test and make quick share; they source it. Not run by itself.
# shellcheck shell=bash

logs=build/cache/test
ended=$logs/ended # a line for each stage that has: seconds, name, ok or FAIL
mkdir -p "$logs"
: >"$ended"

# The lists of what is also tested elsewhere than on this machine's processor.

# narrow_rooms are tested on 32 bits, where lengths overflow and mappings end.
narrow_rooms() { go list ./store/... ./agent/scan/... ./agent/intake/... ./wechat/...; }

# foreign_rooms are tested as the gateways' processors run them: what writes to
# their disks. Only the centre has a snapshot.
foreign_rooms() { go list ./store/... | grep -Ev '/store/snapshot(/|$)'; }

# Tests that start the test binary again, which an emulator can't, or compare with
# such a one. The others are run with -short there.
not_emulated='TestKill|TestPowerCut|AgreeWithBolt|TestFailingSystemCalls|TestReadsAreTriedAgain|TestCheckpointAsideCountsAndGoes'

# Tests by chance and of much at once, which an emulator is spared that has nothing of
# another width than what runs them natively: their code is gone through by the others.
by_chance='TestModel|TestStress|TestPaged|TestPageCycles|TestDamageIsContained|TestScanReadsPastDamage'
by_chance+='|TestDeadLetters|TestManyAre|TestDamageOnAFullDisk|TestMoreDamageThanRoom|TestWhatWasTakenDrains'
by_chance+='|TestOneClient|TestOneHost|TestWaitersLeave|TestCensusAgainstMaps|TestIndexAtRandom|TestRegisterAgainstMap'
by_chance+='|TestBadPage|TestCheckpointIsARecount|TestBadCheckpoint|TestUncleanStart|TestSmallStoreIsUsed'

# The last moment of a test that hangs, so that it says where: CI ends all of it
# after 90 minutes.
hangs=80m

# stage NAME WHAT COMMAND… runs one stage and says how it ended and what it took;
# its output is shown when it fails. Several may run at once.
stage() {
  local name=$1 what=$2 begin=$SECONDS log=$logs/$1.log how=ok line
  shift 2
  ("$@") >"$log" 2>&1 || how=FAIL
  line=$(printf '%-12s %-62s %-4s %4ds' "$name" "$what" $how $((SECONDS - begin)))
  echo "$((SECONDS - begin)) $name $how" >>"$ended"
  [ $how = ok ] && echo "$line" && return
  { echo "$line"; sed "s/^/    /" "$log"; } >"$log.shown"
  cat "$log.shown" # in one piece
  return 1
}

# summary says what took longest and what failed, and returns 1 if anything did.
summary() {
  local bad
  bad=$(awk '$3 == "FAIL" {printf " %s", $2}' "$ended")
  printf 'longest: %s\n' "$(sort -rn "$ended" | head -n 4 | awk '{printf "%s%s %ss", sep, $2, $1; sep = ", "}')"
  [ -z "$bad" ] || { echo "FAILED after ${SECONDS}s:$bad"; return 1; }
  echo "all passed in ${SECONDS}s"
}

formatted() {
  local bad
  bad=$(gofmt -l agent build configs store uplink wechat)
  [ -z "$bad" ] || { echo "not gofmt'ed, run gofmt -w on:"; echo "$bad"; return 1; }
}

# Both look at what the binaries are made of, which are built without cgo.
vetted() {
  export CGO_ENABLED=0
  go vet ./... && go vet -tags gateway ./agent/cmd/... ./agent/control/... && GOARCH=arm go vet ./... && go -C build/packaging/packages vet .
}

checked() {
  export CGO_ENABLED=0
  go tool -modfile=build/tools/go.mod staticcheck ./... &&
    go tool -modfile=build/tools/go.mod staticcheck -tags gateway ./agent/cmd/...
}

# emulated CPU PACKAGE… runs tests as another processor does. Only armv7 runs what is
# tried by chance, and only where 32 bits are tested nowhere else.
emulated() {
  local cpu=$1 skip=$not_emulated
  shift
  [ "$cpu" = arm ] && ! runs_386 || skip+="|$by_chance"
  CGO_ENABLED=0 GOARCH=$cpu GOARM=7 go test -exec "qemu-${cpu/arm64/aarch64}-static" \
    -vet=off -short -skip "$skip" -timeout $hangs "$@"
}

# runs_386 tries a 32-bit x86 program: a kernel may have CONFIG_IA32_EMULATION and
# run none. NO_386=1 makes it say no.
runs_386() {
  local dir ok
  [ -z "${NO_386:-}" ] && dir=$(mktemp -d) || return 1
  printf 'package main\n\nfunc main() {}\n' >"$dir/main.go"
  (cd "$dir" && CGO_ENABLED=0 GOARCH=386 GOFLAGS='' go build -o probe main.go && ./probe) >/dev/null 2>&1
  ok=$?
  rm -rf "$dir"
  return $ok
}
