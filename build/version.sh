#!/usr/bin/env bash
# Prints the version of this tree, semantic: that of build/VERSION for the commit
# that is tagged with it, else 0.1.0-dev+COMMIT, with .dirty where files differ.
set -euo pipefail
cd "$(dirname "$0")/.."
version=$(cat build/VERSION)
if ! commit=$(git rev-parse --short=12 HEAD 2>/dev/null); then
  echo "$version-dev"
elif dirty=$(git status --porcelain) && [ -n "$dirty" ]; then
  echo "$version-dev+$commit.dirty"
elif git tag --points-at HEAD | grep -qx "v$version"; then
  echo "$version"
else
  echo "$version-dev+$commit"
fi
