#!/usr/bin/env bash
# Looks for tests that fail now and then: runs each package's tests N times (default
# 20) with the race detector, every other time beside four busy processes, and says
# which failed how often. The output of each failed run, with the seeds that its
# tests print, stays in build/cache/soak.
#
#   build/soak.sh [-n RUNS] [-r TESTS] [PACKAGE…]
#
# -r takes a regular expression as go test -run does. Without packages: all.
set -uo pipefail
cd "$(dirname "$0")/.."
runs=20 tests=.
while getopts n:r: option; do
  case $option in n) runs=$OPTARG ;; r) tests=$OPTARG ;; *) exit 2 ;; esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || set -- ./...

out=$PWD/build/cache/soak
rm -rf "$out"
mkdir -p "$out"
busy=()
# idle ends the busy processes.
idle() { [ ${#busy[@]} -eq 0 ] || kill "${busy[@]}" 2>/dev/null; busy=(); }
trap idle EXIT
trap 'exit 130' INT TERM

# load starts four processes that do nothing but compute.
load() {
  for _ in 1 2 3 4; do
    (while :; do :; done) &
    busy+=($!)
  done
}

# once ROOM ROUND runs one test program in its folder.
once() {
  local name=${1//\//-} begin=$SECONDS log
  log=$out/$name-$2.log
  if (cd "$1" && "$out/$name.test" -test.run "$tests" -test.timeout 30m -test.v) >"$log" 2>&1; then
    rm "$log"
    echo "$1 $2 ok $((SECONDS - begin))" >>"$out/runs"
  else
    echo "$1 $2 FAIL $((SECONDS - begin))" >>"$out/runs"
    printf '%s, run %s: %s\n' "$1" "$2" "$(grep -E '^ *--- FAIL|^panic:|DATA RACE' "$log" | sort -u | head -n 5 | tr -s ' \n' ' ')"
  fi
}

rooms=()
while read -r room; do
  rooms+=("$room")
  go test -race -c -o "$out/${room//\//-}.test" "./$room" || exit 1
done < <(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.Dir}}{{end}}' "$@" | sed "s|^$PWD/||")

for round in $(seq "$runs"); do
  [ $((round % 2)) -eq 0 ] && load
  for room in "${rooms[@]}"; do once "$room" "$round"; done
  idle
  echo "round $round of $runs: ${SECONDS}s, $(grep -c FAIL "$out/runs") failed so far"
done

echo
awk '
  { n[$1]++; t[$1] += $4 } $4 > max[$1] { max[$1] = $4 }
  $3 == "FAIL" { $2 % 2 ? quiet[$1]++ : busy[$1]++; bad++ }
  END {
    printf "%-28s %5s %13s %12s %8s %8s\n", "package", "runs", "failed quiet", "failed busy", "mean s", "most s"
    for (p in n) printf "%-28s %5d %13d %12d %8.1f %8d\n", p, n[p], quiet[p], busy[p], t[p] / n[p], max[p] | "sort"
    close("sort"); exit bad > 0
  }' "$out/runs"
