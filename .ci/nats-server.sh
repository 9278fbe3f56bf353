#!/usr/bin/env bash
# Prints the path of a nats-server that the NATS backplane works with (2.10 or later): NATS_SERVER_PATH, the one on the PATH, or, on
# Debian, that of a later release, taken from the mirror and checked with the keys that the machine uses for its own packages.
# Nothing of the system changes; the program is kept in the user's cache. Fails with the reason where there is none.
set -euo pipefail

cache="${XDG_CACHE_HOME:-$HOME/.cache}/sse-channels"
# The newest that there is: 2.11 and later are the ones to run a cluster on. The next stable release has 2.10.
releases=(sid trixie)

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
mkdir -p "$cache"

# Fetches the program of a release into the cache; fails where it is not to be had, does not run here, or is too old.
fetch() {
  local own="$work/$1"
  mkdir -p "$own/lists/partial" "$own/archives/partial"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $1 main" >"$own/sources.list"
  local apt_get=(apt-get -qq -o Acquire::Retries=3 -o APT::Sandbox::User=root -o "Dir::Etc::SourceList=$own/sources.list"
    -o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$own/lists" -o "Dir::Cache=$own")
  "${apt_get[@]}" update >&2 || return 1
  (cd "$own" && "${apt_get[@]}" download nats-server >&2 && dpkg-deb -x nats-server_*.deb files) || return 1
  new_enough "$own/files/usr/sbin/nats-server" && mv "$own/files/usr/sbin/nats-server" "$cache/nats-server"
}

for release in "${releases[@]}"; do
  if fetch "$release"; then
    echo "$cache/nats-server"
    exit
  fi
done
echo "No nats-server of 2.10 or later is on the PATH, and none of Debian's (${releases[*]}) runs here; set NATS_SERVER_PATH." >&2
exit 1
