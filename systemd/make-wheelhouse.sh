#!/bin/sh
# Makes, on a workstation with the internet, the folder from which a board without it is installed:
#
#   systemd/make-wheelhouse.sh DIR [--python 3.12]
#
#     DIR/wheels/        the project's wheel, every library it needs, and pip
#     DIR/systemd/       install.sh and what it installs
#     DIR/config-sample.toml   what the first installation writes to /etc/edge-app/config.toml
#     DIR/docs/          all that explains, to read on the board
#     DIR/SHA256SUMS     checked by install.sh: a memory stick may lose bits
#
# --python: the Python version of the board (Ubuntu 24.04: 3.12, Debian 12: 3.11); left out, that of this machine.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
repository=$(dirname "$here")

say() { printf '%s\n' "make-wheelhouse: $*" >&2; }

python=python3
folder=""
board_version=""
while [ $# -gt 0 ]; do
    case "$1" in
    --python)
        board_version=${2:?"--python needs a version, such as 3.12"}
        shift 2
        ;;
    -*)
        say "unknown option $1; usage: make-wheelhouse.sh DIR [--python 3.12]"
        exit 2
        ;;
    *)
        folder=$1
        shift
        ;;
    esac
done
[ -n "$folder" ] || {
    say "usage: make-wheelhouse.sh DIR [--python 3.12]"
    exit 2
}
[ -n "$board_version" ] || board_version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')

rm -rf "$folder/wheels" "$folder/systemd" "$folder/docs"
mkdir -p "$folder/wheels" "$folder/docs"
"$python" -m pip wheel --quiet --no-deps --wheel-dir "$folder/wheels" "$repository"

# Wheels for Linux on x86-64 with glibc 2.36 (Debian 12) or older; pip takes the platforms literally.
platforms=""
for minor in $(seq 5 36); do platforms="$platforms --platform manylinux_2_${minor}_x86_64"; done
# shellcheck disable=SC2086  # a list of words
"$python" -m pip download --quiet --dest "$folder/wheels" --only-binary=:all: \
    --python-version "$board_version" --implementation cp --platform manylinux2014_x86_64 $platforms \
    pip "$(echo "$folder"/wheels/edge_app-*.whl)[display,metrics]"

cp -R "$here" "$folder/"
# Not under its own name: edge-app prefers a config.toml in the folder it is called in.
cp "$repository/config.toml" "$folder/config-sample.toml"
cp "$repository"/docs/*.md "$folder/docs/"
cp -R "$repository/docs/mosquitto" "$folder/docs/"
(cd "$folder" && find wheels systemd config-sample.toml docs -type f | LC_ALL=C sort | xargs sha256sum >SHA256SUMS)
say "$folder is ready for Python $board_version: $(du -sh "$folder" | cut -f1). On the board: sudo sh systemd/install.sh"
