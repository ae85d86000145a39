#!/usr/bin/env bash
# Runs every fuzz target in the tree for FUZZTIME (default 1m) each. What one
# finds is kept by go test under testdata/fuzz and becomes a test case.
set -uo pipefail
cd "$(dirname "$0")/.."

time=${FUZZTIME:-1m}
status=0
while read -r file; do
  package=./$(dirname "$file")
  for target in $(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file"); do
    echo "$package $target, $time"
    go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$package" || status=1
  done
done < <(grep -rl --include='*_test.go' '^func Fuzz' agent configs store uplink wechat)
exit $status
