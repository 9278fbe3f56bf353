#!/usr/bin/env bash
# Prints the path of a nats-server that the NATS backplane works with (2.10 or later): NATS_SERVER_PATH, the one on the PATH, or, on
# Debian, that of a later release, taken from the mirror and checked with the keys that the machine uses for its own packages.
# Nothing of the system changes; the program is kept in the user's cache. Fails with the reason where there is none.
set -euo pipefail

cache="${XDG_CACHE_HOME:-$HOME/.cache}/sse-channels"
release=trixie

new_enough() {
  local version
  version=$("$1" --version 2>/dev/null | sed -nE 's/^nats-server: v([0-9]+)\.([0-9]+)\..*/\1 \2/p')
  [ -n "$version" ] && read -r major minor <<<"$version" && { [ "$major" -gt 2 ] || { [ "$major" -eq 2 ] && [ "$minor" -ge 10 ]; }; }
}

for program in "${NATS_SERVER_PATH:-}" "$(command -v nats-server || true)" "$cache/nats-server"; do
  if [ -n "$program" ] && new_enough "$program"; then
    echo "$program"
    exit
  fi
done

# Its mirror is that of the machine's own packages.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m 1 -E '/debian/?$' || true)
if [ -z "$mirror" ]; then
  echo 'No nats-server of 2.10 or later is on the PATH, and this machine has no mirror of Debian to take one from; set NATS_SERVER_PATH.' >&2
  exit 1
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/archives/partial" "$cache"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $release main" >"$work/sources.list"
apt_get() {
  apt-get -qq -o Acquire::Retries=3 -o APT::Sandbox::User=root -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=/dev/null \
    -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work" "$@" >&2
}
apt_get update
(cd "$work" && apt_get download nats-server && dpkg-deb -x nats-server_*.deb files)
new_enough "$work/files/usr/sbin/nats-server" || {
  echo "The nats-server of Debian $release does not run here, or is older than 2.10; set NATS_SERVER_PATH." >&2
  exit 1
}
mv "$work/files/usr/sbin/nats-server" "$cache/nats-server"
echo "$cache/nats-server"
