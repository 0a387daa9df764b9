#!/bin/sh
# Make, on a workstation with the internet, the folder from which a board without it is installed.
#
#   systemd/make-wheelhouse.sh DIR [--python 3.12] [--requirements FILE]
#
#     DIR/wheels/        the project's wheel, every library it needs, and pip
#     DIR/systemd/       install.sh and what it installs
#     DIR/config-sample.toml   what the first installation writes to /etc/edge-app/config.toml
#     DIR/docs/          the documentation, to read on the board
#     DIR/SHA256SUMS     checked by install.sh: a memory stick may lose bits
#
# --python: the Python version of the board (Ubuntu 24.04: 3.12, Debian 12: 3.11); default: that of this machine.
# --requirements: the libraries, pinned with hashes; default: requirements/board.txt.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
repository=$(dirname "$here")

say() { printf '%s\n' "make-wheelhouse: $*" >&2; }

python=python3
folder=""
board_version=""
requirements=$repository/requirements/board.txt
usage="usage: make-wheelhouse.sh DIR [--python 3.12] [--requirements FILE]"
while [ $# -gt 0 ]; do
    case "$1" in
    --python)
        board_version=${2:?"--python needs a version, such as 3.12"}
        shift 2
        ;;
    --requirements)
        requirements=${2:?"--requirements needs a file"}
        shift 2
        ;;
    -h | --help)
        sed -n '2,/^set -eu/s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    -*)
        say "unknown option $1; $usage"
        exit 2
        ;;
    *)
        folder=$1
        shift
        ;;
    esac
done
[ -n "$folder" ] || {
    say "$usage"
    exit 2
}
[ -n "$board_version" ] || board_version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Build with the pinned tools: with those of this Python where they are the ones, else in an environment of their own.
tools=$repository/requirements/build.txt
if ! "$python" -m pip install --quiet --dry-run --no-index --no-deps --require-hashes -r "$tools" 2>/dev/null; then
    "$python" -m venv "$scratch/build"
    python=$scratch/build/bin/python
    "$python" -m pip install --quiet --no-deps --require-hashes -r "$tools"
fi

wheels=$scratch/wheels
"$python" -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir "$wheels" "$repository"

# pip evaluates markers for the Python it runs on, whatever --python-version says: leave only those of the board's.
"$python" - "$requirements" "$board_version" >"$scratch/requirements.txt" <<'PYTHON'
import sys
from pathlib import Path

from packaging.requirements import Requirement

path, version = sys.argv[1:]
board = {
    "python_version": version,
    "python_full_version": f"{version}.0",
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_machine": "x86_64",
    "os_name": "posix",
}
for entry in Path(path).read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
    text, *hashes = entry.split(" --hash=")
    if text.strip() and not text.startswith("#"):
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate(board):
            print(f"{requirement.name}{requirement.specifier}", *(f"--hash={value}" for value in hashes))
PYTHON

# Wheels for Linux on x86-64 with glibc 2.36 (Debian 12) or older; pip takes the platforms literally.
platforms=""
for minor in $(seq 5 36); do platforms="$platforms --platform manylinux_2_${minor}_x86_64"; done
target="--only-binary=:all: --python-version $board_version --implementation cp --platform manylinux2014_x86_64 $platforms"
# shellcheck disable=SC2086  # a list of words
"$python" -m pip download --quiet --dest "$wheels" --no-deps --require-hashes $target -r "$scratch/requirements.txt"
# What the board will do, which has no index: a library that the requirements lack is found here.
# shellcheck disable=SC2086
"$python" -m pip install --quiet --dry-run --no-index --find-links "$wheels" --target "$scratch/none" $target \
    "edge-app[display,metrics]"

rm -rf "$folder/wheels" "$folder/systemd" "$folder/docs"
mkdir -p "$folder/docs"
mv "$wheels" "$folder/wheels"

cp -R "$here" "$folder/"
# Not under its own name: edge-app prefers a config.toml in the folder it is called in.
cp "$repository/config.toml" "$folder/config-sample.toml"
cp "$repository"/docs/*.md "$folder/docs/"
cp -R "$repository/docs/mosquitto" "$folder/docs/"
(cd "$folder" && find wheels systemd config-sample.toml docs -type f | LC_ALL=C sort | xargs sha256sum >SHA256SUMS)
say "$folder is ready for Python $board_version: $(du -sh "$folder" | cut -f1). On the board: sudo sh systemd/install.sh"
