#!/usr/bin/env bash
# What a developer runs between edits: format, vet, staticcheck and the tests of
# what changed since SINCE (default: the upstream branch, else main), committed or
# not, and of what imports it; without the race detector, emulation and the built
# binary, and with -short.
set -uo pipefail
cd "$(dirname "$0")/.."
. build/checks.sh

# since names the commit that changes are counted from.
since() {
  local ref
  for ref in ${SINCE:-'@{upstream}' origin/main main}; do
    git merge-base HEAD "$ref" 2>/dev/null && return
  done
  echo HEAD
}

# changed_files lists what differs from that commit, or is not in git yet.
changed_files() {
  git diff --name-only "$(since)"
  git ls-files --others --exclude-standard
}

# changed_rooms lists the packages that hold these files, in their folder or below
# it (testdata); all of them when the libraries changed.
changed_rooms() {
  local all folder
  all=$(go list -f '{{.Dir}}' ./...)
  changed_files | while IFS= read -r file; do
    case $file in go.mod | go.sum) echo "$all"; continue ;; esac
    folder=$PWD/$(dirname "$file")
    while [ "$folder" != "$PWD" ] && ! grep -qxF "$folder" <<<"$all"; do folder=$(dirname "$folder"); done
    [ "$folder" = "$PWD" ] || echo "$folder"
  done | sort -u
}

# importers lists the packages that import one of those on its input, or whose tests
# do; the demo and e2e, which import everything, are tested when they change
# themselves.
importers() {
  local changed
  changed=$(sed "s|^$PWD/\(.*\)|scanrelay/\1 |")
  go list -f '{{$d := .Dir}}{{range .Imports}}{{.}} {{$d}}{{"\n"}}{{end -}}
    {{range .TestImports}}{{.}} {{$d}}{{"\n"}}{{end}}{{range .XTestImports}}{{.}} {{$d}}{{"\n"}}{{end}}' ./... |
    grep -F -e "$changed" | cut -d' ' -f2 | grep -vE '/(agent/demo|build/(bench|e2e))$' | sort -u
}

tested() {
  # shellcheck disable=SC2086
  go test -short -timeout $hangs $rooms
}

stage format "gofmt" formatted
stage vet "go vet, both builds, 32-bit too" vetted
stage staticcheck "staticcheck, both builds" checked
rooms=$(changed_rooms)
if [ -n "$rooms" ]; then
  rooms=$(printf '%s\n' "$rooms" "$(importers <<<"$rooms")" ./build/layout | sort -u)
  stage tests "$(wc -w <<<"$rooms") packages: what changed and what imports it" tested
  cat "$logs/tests.log" | grep -E '^ok|no test files' | grep -v cached | sed 's/^/    /'
else
  stage tests "no package changed: layout alone" go test ./build/layout
fi
summary
