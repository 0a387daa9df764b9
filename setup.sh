#!/bin/sh
# Set up a fresh Debian 12 or Ubuntu 24.04 machine and run one of the project's commands.
#
#   ./setup.sh demo [OPTIONS OF edge-app demo]
#   ./setup.sh export CHECKPOINT OUT [OPTIONS OF python -m export]
#   ./setup.sh test [--full] [--slow] [OPTIONS OF pytest]
#   ./setup.sh gpu COMMAND...  run a command, such as `edge-app demo`, under an emulated iGPU (docs/igpu.md)
#   ./setup.sh gpu-test [--full] [OPTIONS OF pytest]    the tests of tests/gpu, under the emulated iGPU
#   ./setup.sh lint
#   ./setup.sh faults [OPTIONS OF python -m tests.faults]
#   ./setup.sh pythons    the demo from the wheel and the quick tests on every other supported Python found here
#   ./setup.sh newest     lint and tests with the newest version of every dependency; names what differs from the lock
#   ./setup.sh lock       resolve every dependency again and write requirements/
#
# Install missing Debian packages with apt-get (as root or with sudo) and the versions that requirements/ pins into .venv
# beside this file. Every command may be repeated.
set -eu
caller=$PWD
cd "$(dirname "$0")"

venv=.venv
torch_version=2.13.0
torch_index=https://download.pytorch.org/whl/cpu
supported_pythons="3.11 3.12 3.13"
home_assistant_python=3.13 # Home Assistant 2025.4 runs on nothing older

usage() { sed -n '2,/^set -eu/{/^set -eu/d;s/^# \{0,1\}//p;}' setup.sh; }

say() { printf '%s\n' "setup: $*" >&2; }

# Debian packages: what OpenCV's wheel links to, what the linters are, and what the tests start.
runtime_packages="python3 python3-venv libgl1 libglib2.0-0"
lint_packages="$runtime_packages shellcheck"
test_packages="$runtime_packages mosquitto mosquitto-clients minisign ffmpeg gcc libc6-dev util-linux procps iproute2 nftables"
test_packages="$test_packages e2fsprogs xvfb"
# The emulated iGPU: an OpenCL loader that takes layers, the headers, a compiler for the layer.
gpu_packages="ocl-icd-libopencl1 opencl-c-headers gcc libc6-dev"
# The units are checked by systemd's own tools and run under a systemd in a container.
test_packages="$test_packages systemd systemd-container"

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

in_venv() { "$venv/bin/python" -m "$@"; }

make_venv() { # [PYTHON]
    python=${1:-python3}
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        say "$python is $("$python" --version 2>&1), 3.11 or newer is needed"
        exit 1
    }
    # Made anew: one that was interrupted, one of another Python, and one of another lock, whose packages would stay.
    is_whole='import pip, sys; sys.exit(sys.prefix == sys.base_prefix or "%d.%d" % sys.version_info[:2] != sys.argv[1])'
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    lock=$(sha256sum requirements/all.txt)
    if ! "$venv/bin/python" -c "$is_whole" "$version" 2>/dev/null || [ "$lock" != "$(cat "$venv/lock" 2>/dev/null)" ]; then
        "$python" -m venv --clear "$venv" || return 1
        echo "$lock" >"$venv/lock"
    fi
}

# Dependencies are those of the file to the byte; the project itself is built by the pinned build tools.
install_requirements() { # FILE
    in_venv pip install --quiet --require-hashes --no-deps -r "requirements/$1" && in_venv pip check >&2
}

install_locked() { # FILE
    install_requirements "$1" && in_venv pip install --quiet --no-deps --no-build-isolation -e .
}

# PyPI's torch brings several GB of CUDA. A CPU build is taken wherever there is one: from pip's own sources, else from
# PyTorch's index for CPU builds if that answers within seconds.
install_torch() {
    has_version='import importlib.metadata as m, sys; sys.exit(m.version("torch").split("+")[0] != sys.argv[1])'
    "$venv/bin/python" -c "$has_version" "$torch_version" 2>/dev/null && return
    cpu_build="torch==$torch_version+cpu"
    in_venv pip install --quiet --no-deps "$cpu_build" 2>"$venv/torch.log" && return
    answers='import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5)'
    if timeout 10 "$venv/bin/python" -c "$answers" "$torch_index/torch/" 2>/dev/null; then
        in_venv pip install --quiet --no-deps --index-url "$torch_index" "$cpu_build" && return
    fi
    say "no CPU build of torch: pip said \"$(tail -n 1 "$venv/torch.log")\", and $torch_index is out of reach"
    say "installing PyPI's build, with CUDA: several GB"
    in_venv pip install --quiet "torch==$torch_version"
}

install_all() {
    install_torch
    install_locked all.txt
}

find_python() { # VERSION -> a path, or status 1
    for found in "python$1" "$(pyenv root 2>/dev/null || echo /nowhere)/versions/$1".*/bin/python3; do
        "$found" -c '' >/dev/null 2>&1 && command -v "$found" && return
    done
    command -v uv >/dev/null && uv python find --no-python-downloads "$1" 2>/dev/null
}

# Home Assistant pins everything that it imports, so it has an environment and a lock of its own.
make_home_assistant() {
    found=$(find_python "$home_assistant_python") || {
        say "no Python $home_assistant_python here: the tests against a real Home Assistant are skipped"
        return
    }
    main_venv=$venv venv=.venv-home-assistant
    make_venv "$found"
    install_requirements home-assistant.txt
    venv=$main_venv
    EDGE_APP_HOME_ASSISTANT_PYTHON=$PWD/.venv-home-assistant/bin/python
    export EDGE_APP_HOME_ASSISTANT_PYTHON
}

lint() {
    status=0
    "$venv/bin/ruff" check . || status=1
    "$venv/bin/ruff" format --check . || status=1
    in_venv mypy || status=1
    "$venv/bin/lint-imports" || status=1
    shellcheck setup.sh .ci/run systemd/*.sh tests/gpu/make.sh || status=1
    return $status
}

# More workers than cores, since most tests wait; a file of tests on one worker, so that its fixtures are made once. Those
# of the GPU need `run_gpu_tests`.
run_tests() { in_venv pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not gpu" "$@"; }

# Under the emulated iGPU, which takes every core by itself. Status 0 where Intel's runtime cannot be had, but not in CI.
run_gpu_tests() {
    if tests/gpu/make.sh .gpu "$venv/bin/python"; then
        .gpu/with-gpu "$venv/bin/python" -m pytest tests/gpu "$@"
        return
    fi
    say "Intel's OpenCL runtime for CPUs (requirements/gpu.txt) cannot be installed here: the tests of the GPU are skipped"
    [ -z "${CI:-}" ]
}

# The demo from the wheel, outside of the repository, and the quick tests.
try_python() { # VERSION PYTHON
    say "Python $1: the demo from the wheel, then the quick tests"
    venv=.venv-$1
    make_venv "$2" && rm -rf "$venv/wheel" && install_requirements test.txt &&
        in_venv pip wheel --quiet --no-deps --no-build-isolation --wheel-dir "$venv/wheel" . &&
        in_venv pip install --quiet --no-deps --force-reinstall "$venv"/wheel/edge_app-*.whl &&
        (root=$PWD && cd / && "$root/$venv/bin/edge-app" demo --seconds 15) &&
        in_venv pytest -n 3 --dist loadfile -m quick
}

resolve() { # NAME OPTIONS OF uv pip compile
    out=requirements/$1.txt
    shift
    say "resolving $out"
    in_venv uv pip compile --quiet --upgrade --generate-hashes --no-annotate --custom-compile-command './setup.sh lock' \
        --output-file "$out" "$@"
}

# One resolution for all supported versions of Python; a smaller set takes its versions from the largest.
lock() {
    everywhere="--universal --python-version 3.11 pyproject.toml"
    # shellcheck disable=SC2086  # a list of words
    {
        resolve all $everywhere --all-extras --group build --group test --group lint --no-emit-package torch
        smaller="$everywhere --constraints requirements/all.txt"
        resolve test $smaller --extra demo --extra display --extra metrics --group build --group test
        resolve demo $smaller --extra demo --group build
        resolve board $smaller --extra display --extra metrics --group kit
        resolve build --universal --python-version 3.11 --constraints requirements/all.txt --group build
    }
    resolve gpu --universal --python-version 3.11 requirements/gpu.in
    resolve home-assistant --python-version "$home_assistant_python" requirements/home-assistant.in
}

what="${1:-}"
[ $# -gt 0 ] && shift
case "$what" in
demo)
    # shellcheck disable=SC2086
    install_debian_packages $runtime_packages
    make_venv
    install_locked demo.txt
    exec "$venv/bin/edge-app" demo "$@"
    ;;
export)
    # shellcheck disable=SC2086
    install_debian_packages $runtime_packages
    make_venv
    install_all
    python=$PWD/$venv/bin/python
    cd "$caller" # paths of the command are the caller's
    exec "$python" -m export "$@"
    ;;
gpu)
    [ $# -gt 0 ] || {
        say "usage: ./setup.sh gpu COMMAND..., such as: ./setup.sh gpu edge-app demo"
        exit 2
    }
    # shellcheck disable=SC2086
    install_debian_packages $runtime_packages $gpu_packages
    make_venv
    install_locked test.txt
    tests/gpu/make.sh .gpu "$venv/bin/python" || {
        say "Intel's OpenCL runtime for CPUs (requirements/gpu.txt) cannot be installed; without it there is no emulated iGPU"
        exit 1
    }
    with_gpu=$PWD/.gpu/with-gpu
    PATH=$PWD/$venv/bin:$PATH
    export PATH
    cd "$caller" # paths of the command are the caller's
    exec "$with_gpu" "$@"
    ;;
gpu-test)
    # shellcheck disable=SC2086
    install_debian_packages $test_packages $gpu_packages
    make_venv
    install_all
    run_gpu_tests "$@"
    ;;
lint)
    # shellcheck disable=SC2086
    install_debian_packages $lint_packages
    make_venv
    install_all
    lint
    ;;
test)
    # shellcheck disable=SC2086
    install_debian_packages $test_packages
    make_venv
    install_all
    make_home_assistant
    run_tests "$@"
    ;;
faults)
    # shellcheck disable=SC2086
    install_debian_packages $test_packages
    make_venv
    install_locked test.txt
    in_venv tests.faults "$@"
    ;;
pythons)
    # shellcheck disable=SC2086
    install_debian_packages $test_packages
    own=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    status=0
    for version in $supported_pythons; do
        [ "$version" != "$own" ] || continue # `test` runs it
        if found=$(find_python "$version"); then
            try_python "$version" "$found" || status=1
        else
            say "no Python $version here"
        fi
    done
    exit $status
    ;;
newest)
    # shellcheck disable=SC2086
    install_debian_packages $test_packages $gpu_packages shellcheck
    venv=.venv-newest
    rm -rf "$venv"
    make_venv
    in_venv pip install --quiet --upgrade pip
    install_torch
    status=0
    in_venv pip install --quiet --upgrade -e '.[demo,display,export,metrics]' --group build --group test --group lint || status=1
    lint || status=1
    run_tests --slow "$@" || status=1
    run_gpu_tests || status=1
    "$venv/bin/python" requirements/differences.py
    exit $status
    ;;
lock)
    # shellcheck disable=SC2086
    install_debian_packages $runtime_packages
    make_venv
    in_venv pip install --quiet --upgrade uv
    lock
    ;;
-h | --help)
    usage
    ;;
*)
    usage >&2
    exit 2
    ;;
esac
