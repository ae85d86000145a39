# What make test, make quick and make soak share; they source it. Not run by itself.
# shellcheck shell=bash

logs=build/cache/test
mkdir -p "$logs"
failed=()
times=()

# The lists of what is also tested elsewhere than on this machine's processor.

# narrow_rooms are tested on 32 bits, where lengths overflow and mappings end.
narrow_rooms() { go list ./store/... ./agent/scan/... ./agent/intake/... ./wechat/...; }

# foreign_rooms are tested as the gateways' processors run them: what writes to
# their disks. Only the centre has a snapshot.
foreign_rooms() { go list ./store/... | grep -Ev '/store/snapshot(/|$)'; }

# Tests that start the test binary again, which an emulator can't, or compare with
# such a one. The others are run with -short there.
not_emulated='TestKill|TestPowerCut|AgreeWithBolt|TestFailingSystemCalls|TestReadsAreTriedAgain'

# The last moment of a test that hangs, so that it says where: CI ends all of it
# after 90 minutes.
hangs=80m

# stage NAME WHAT COMMAND… runs one stage and says how it ended and what it took;
# its output is shown when it fails.
stage() {
  local name=$1 what=$2 begin=$SECONDS log
  shift 2
  log=$logs/$name.log
  printf '%-12s %-62s ' "$name" "$what"
  if "$@" >"$log" 2>&1; then
    printf 'ok   %4ds\n' $((SECONDS - begin))
    times+=("$((SECONDS - begin)) $name")
    return 0
  fi
  printf 'FAIL %4ds\n' $((SECONDS - begin))
  times+=("$((SECONDS - begin)) $name")
  sed "s/^/    /" "$log"
  failed+=("$name")
  return 1
}

# summary says what failed, or what took longest, and returns 1 if anything failed.
summary() {
  printf 'longest: %s\n' "$(printf '%s\n' "${times[@]}" | sort -rn | head -n 4 | awk '{printf "%s%s %ss", sep, $2, $1; sep = ", "}')"
  if [ ${#failed[@]} -gt 0 ]; then
    echo "FAILED after ${SECONDS}s: ${failed[*]}"
    return 1
  fi
  echo "all passed in ${SECONDS}s"
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

# emulated CPU PACKAGE… runs tests as another processor does.
emulated() {
  local cpu=$1
  shift
  CGO_ENABLED=0 GOARCH=$cpu GOARM=7 go test -exec "qemu-${cpu/arm64/aarch64}-static" \
    -vet=off -short -skip "$not_emulated" -timeout $hangs "$@"
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
