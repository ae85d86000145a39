#!/usr/bin/env bash
# Makes a release of this tree, from programs to what gateways take: the gateway builds
# of all machines, deltas from the releases before, targets that are signed, one bundle
# for each machine. make release calls it; agent/update/release/README.md says with what.
#
#   RELEASES         the repository, made by scanrelay release init
#   KEYS             folder with targets.key, snapshot.key and timestamp.key; without it
#                    it ends before they sign, wherever they are, and is run again then
#   PASSPHRASE_FILE  theirs
#   MACHINES         as arm/6 arm64; BUNDLES: where bundles go; DELTAS: from how many
#                    releases before; ADD: more for release add, as --min-from 1.0.0
set -euo pipefail
cd "$(dirname "$0")/.."
fail() { echo "release: $1" >&2; exit 1; }
[ -e "${RELEASES:?is the folder of the repository: see agent/update/release/README.md}/1.root.json" ] ||
  fail "$RELEASES is no repository whose root is signed: scanrelay release init makes one"
case ${VERSION:?} in
  *-dev*) fail "$VERSION is no release: tag the commit v$(cat build/VERSION), or give VERSION" ;;
esac
[ -z "${KEYS-}" ] || [ -e "${PASSPHRASE_FILE-}" ] || fail "KEYS need PASSPHRASE_FILE"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export LC_ALL=C
make -s build BIN="$work/scanrelay"
publish="$work/scanrelay release"

# What is published may be added again and never changes; so may what waits for keys.
for machine in $MACHINES; do
  make -s "cross/gateway/$machine" DIST="$work/$machine"
  program=$(echo "$work/$machine"/*)
  there=$($publish verify "$RELEASES" 2>/dev/null | awk -v m="linux/$machine" '$2 == m {print $1, $NF}') || true
  grep -qx "$VERSION $(sha256sum "$program" | cut -c1-16)" <<<"$there" && continue
  from=()
  for version in $(cut -d' ' -f1 <<<"$there" | grep -vx "$VERSION" | sort -uV | tail -n "$DELTAS"); do from+=(--from "$version"); done
  # shellcheck disable=SC2086
  $publish add "$RELEASES" --version "$VERSION" "${from[@]}" ${ADD-} "$program"
done

if [ -z "${KEYS-}" ]; then
  echo "Sign what is missing where its keys are: scanrelay release sign $RELEASES --key FILE --passphrase-file FILE; then run this again."
  exit
fi
keys=()
for role in targets snapshot timestamp; do
  [ ! -e "$KEYS/$role.key" ] || keys+=(--key "$KEYS/$role.key")
done
$publish sign "$RELEASES" --passphrase-file "$PASSPHRASE_FILE" "${keys[@]}"
$publish verify "$RELEASES"
mkdir -p "$BUNDLES"
for machine in $MACHINES; do
  $publish bundle "$RELEASES" --version "$VERSION" --os-arch "linux/$machine" --to "$BUNDLES/scanrelay-$VERSION-linux-${machine/arm\//armv}.bundle"
done
echo "Copy $RELEASES, without keys and timestamp.json last, to the centre's updates.dir; then: scanrelay rollout start $VERSION"
