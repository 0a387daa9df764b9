#!/bin/sh
# Sets up a fresh Debian 12 or Ubuntu 24.04 machine, then runs the demo or all tests.
#
#   ./setup.sh demo [OPTIONS OF edge-app demo]
#   ./setup.sh test [OPTIONS OF pytest]
#   ./setup.sh faults [OPTIONS OF python -m tests.faults]
#
# Debian packages are installed with apt-get if they are missing (as root or with sudo); Python packages go to .venv beside
# this file. Run it again as often as you like.
set -eu
cd "$(dirname "$0")"

say() { printf '%s\n' "setup: $*" >&2; }

# Debian packages: what OpenCV's wheel links to, and what the tests start.
runtime_packages="python3 python3-venv libgl1 libglib2.0-0"
test_packages="$runtime_packages mosquitto mosquitto-clients minisign ffmpeg gcc libc6-dev util-linux procps iproute2 nftables"
test_packages="$test_packages e2fsprogs xvfb"
# The units are checked by systemd's own tools and run under a systemd in a container.
test_packages="$test_packages systemd systemd-container shellcheck"

install_debian_packages() {
    missing=""
    for package in "$@"; do
        # On Ubuntu 24.04 libglib2.0-0 is provided by libglib2.0-0t64.
        if ! dpkg-query -W -f '${Status}\n' "$package" "${package}t64" 2>/dev/null | grep -q 'ok installed'; then
            missing="$missing $package"
        fi
    done
    [ -z "$missing" ] && return
    if [ "$(id -u)" = 0 ]; then
        as_root=""
    elif command -v sudo >/dev/null; then
        as_root="sudo"
    else
        say "these Debian packages are missing, and there is neither root nor sudo:$missing"
        say "ask an administrator to run: apt-get install$missing"
        exit 1
    fi
    say "installing Debian packages:$missing"
    $as_root apt-get update -q
    # shellcheck disable=SC2086  # a list of words
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
}

make_venv() {
    # A python3 on the PATH that is too old (3.10 and before) cannot run this.
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        say "python3 is $(python3 --version 2>&1), 3.11 or newer is needed"
        exit 1
    }
    # One that was interrupted has a python and no pip.
    .venv/bin/python -m pip --version >/dev/null 2>&1 || python3 -m venv --clear .venv
    # Dependency groups (PEP 735) need pip 25.1.
    .venv/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
}

what="${1:-}"
[ $# -gt 0 ] && shift
case "$what" in
demo)
    # shellcheck disable=SC2086
    install_debian_packages $runtime_packages
    make_venv
    .venv/bin/python -m pip install --quiet -e '.[demo]'
    exec .venv/bin/edge-app demo "$@"
    ;;
test)
    # shellcheck disable=SC2086
    install_debian_packages $test_packages
    make_venv
    # torch==2.13.0 comes with the export extra: pinned, so that pip takes a CPU build where one is at hand.
    .venv/bin/python -m pip install --quiet -e '.[demo,display,export,metrics]' --group test --group lint
    .venv/bin/ruff check .
    .venv/bin/ruff format --check .
    .venv/bin/mypy
    exec .venv/bin/python -m pytest "$@"
    ;;
faults)
    # shellcheck disable=SC2086
    install_debian_packages $test_packages
    make_venv
    .venv/bin/python -m pip install --quiet -e . --group test
    exec .venv/bin/python -m tests.faults "$@"
    ;;
*)
    say "usage: ./setup.sh demo | ./setup.sh test | ./setup.sh faults"
    exit 2
    ;;
esac
