#!/bin/sh
# Installs edge-app on a board, without the internet, from the folder that make-wheelhouse.sh made. docs/board.md tells
# the whole way.
#
#   install.sh [--allow ADDRESS]... [--display] [--mipi]   install, or update to the version of this folder
#   install.sh --rollback                                  back to the version before
#   install.sh --uninstall [--purge]                       remove; --purge also configuration, state and cache
#
#   --allow ADDRESS   the service may talk to this address or network (10.0.0.5, 10.0.0.0/24): the broker, a network
#                     camera, a name server. It is added to those of earlier calls. Without any, the service may
#                     talk to this machine only. --broker is the same.
#   --display         also edge-app-display.service: the overlay on the HDMI screen
#   --mipi            also mipi-bridge.service: a MIPI camera through v4l2loopback. An update renews both where they are
#   --root DIR        install into the root folder of an image, and touch nothing else
#   --wheelhouse DIR  take the wheels from DIR; left out: the folder wheels beside systemd
#   --python PATH     the Python of the board; left out: python3
#   --no-deps         without the libraries, to try this script
#
# Run it again as often as you like: it ends in the same state. A version is installed beside the running one and comes
# into force by the switch of one link; the operator's files are never overwritten.
set -eu
umask 022 # what is installed is for all to read, whoever runs this
here=$(cd "$(dirname "$0")" && pwd)
kit=$(dirname "$here")

say() { printf '%s\n' "install: $*" >&2; }

fail() {
    say "$*"
    exit 1
}

usage() {
    sed -n '2,/^set -eu/s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

action=install root="" wheels="" python=python3 allowed="" with_display="" with_mipi="" no_deps="" purge=""
while [ $# -gt 0 ]; do
    case "$1" in
    --root | --wheelhouse | --python | --allow | --broker)
        [ $# -ge 2 ] || fail "$1 needs a value."
        case "$1" in
        --root) root=$2 ;;
        --wheelhouse) wheels=$2 ;;
        --python) python=$2 ;;
        *) allowed="$allowed $2" ;;
        esac
        shift
        ;;
    --display) with_display=yes ;;
    --mipi) with_mipi=yes ;;
    --no-deps) no_deps=--no-deps ;;
    --rollback) action=rollback ;;
    --uninstall) action=uninstall ;;
    --purge) purge=yes ;;
    *) usage ;;
    esac
    shift
done
if [ -n "$purge" ] && [ "$action" != uninstall ]; then
    fail "--purge goes with --uninstall only; nothing was changed."
fi

[ "$(id -u)" = 0 ] || fail "this needs root; run: sudo sh $0"
if [ -n "$root" ]; then
    [ -d "$root" ] || fail "there is no folder $root; name the root folder of an image."
    root=$(cd "$root" && pwd)
    [ "$root" != / ] || root=""
fi
opt=$root/opt/edge-app
etc=$root/etc/edge-app
usr_local=$root/usr/local
unit_folder=$usr_local/lib/systemd/system
doc_folder=$usr_local/share/doc/edge-app
network=$root/etc/systemd/system/edge-app.service.d/10-network.conf
all_units="edge-app.service edge-app-display.service mipi-bridge.service"
is_live=""
if [ -z "$root" ] && [ -d /run/systemd/system ]; then is_live=yes; fi

# Put the link $1 at the target $2 in one step: whoever looks finds the old target or the new one.
point() {
    ln -sfn "$2" "$1.new"
    mv -T "$1.new" "$1"
}

sync_folder() { sync -f "$1"; }

check_wheelhouse() {
    wheels=${wheels:-$kit/wheels}
    set -- "$wheels"/edge_app-*.whl
    if [ ! -f "$1" ] || [ $# != 1 ]; then
        fail "$wheels must hold one edge_app-*.whl; make the folder with make-wheelhouse.sh."
    fi
    version=$(basename "$1" | cut -d- -f2)
    set -- "$wheels"/pip-*.whl
    [ -f "$1" ] || fail "$wheels holds no pip-*.whl; make the folder with make-wheelhouse.sh."
    pip=$1/pip
    sums=$(dirname "$wheels")/SHA256SUMS
    if [ -f "$sums" ]; then
        (cd "$(dirname "$sums")" && sha256sum --quiet --check SHA256SUMS) ||
            fail "the files differ from $sums; copy the folder again."
    fi
}

check_python() {
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "$python is too old or missing; Python 3.11 or newer is needed."
    [ -n "$root" ] || return 0
    # The libraries are compiled for one version, and the image brings a Python of its own.
    minor=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
    for found in "$root"/usr/bin/python3.[0-9]*[0-9]; do
        if [ -e "$found" ] && [ "$(basename "$found")" != "$minor" ]; then
            fail "the image has $(basename "$found"), this machine $minor; name the same version with --python."
        fi
    done
}

check_addresses() {
    for address in $allowed; do
        "$python" -c 'import ipaddress, sys; ipaddress.ip_network(sys.argv[1], strict=False)' "$address" 2>/dev/null ||
            fail "$address is no address; the filter knows no names: give 10.0.0.5 or 10.0.0.0/24."
    done
}

# Whether the root folder has a program at the absolute path $1, by its own links and not by those of this machine.
has_program() {
    path=$1
    for _ in 1 2 3 4 5 6 7 8 9; do
        [ -L "$root$path" ] || break
        target=$(readlink "$root$path")
        case "$target" in
        /*) path=$target ;;
        *) path=$(dirname "$path")/$target ;;
        esac
    done
    [ -x "$root$path" ]
}

install_program() {
    # The same files are the same version, and a version that is there is whole.
    hash=$(cat "$wheels"/*.whl "$here"/* "$kit"/docs/*.md "$kit"/docs/mosquitto/* | sha256sum | cut -c1-12)
    name=$version-$hash$no_deps
    mkdir -p "$opt/versions"
    rm -rf "$opt"/versions/*.part # of an installation that was interrupted
    if [ ! -d "$opt/versions/$name" ]; then
        part=$opt/versions/$name.part
        "$python" -m venv --without-pip "$part"
        if ! has_program "${part#"$root"}/bin/python"; then
            rm -rf "$part"
            fail "the image has no $path, by which the program would be started; install Python in the image first," \
                "or name the Python of this machine that lies where the image has its own with --python."
        fi
        # shellcheck disable=SC2086  # $no_deps: an option or nothing
        "$part/bin/python" "$pip" install --quiet --no-index --find-links "$wheels" --no-cache-dir \
            --disable-pip-version-check --root-user-action ignore $no_deps "edge-app[display,metrics]" ||
            fail "pip could not install from $wheels; make it with --python $("$python" -c \
                'import sys; print("%d.%d" % sys.version_info[:2])')."
        if [ -z "$no_deps" ]; then
            "$part/bin/python" -c 'import cv2, numpy, openvino, paho.mqtt.client, PIL, pydantic, tokenizers' ||
                fail "a library does not load; on Ubuntu Server install: libgl1 libglib2.0-0t64 (Debian: libglib2.0-0)."
        fi
        # The scripts that pip wrote name the folder of the moment. Ours finds its own, and imports nothing from the
        # folder it is called in.
        find "$part/bin" -type f ! -name 'python*' -delete
        cat >"$part/bin/edge-app" <<'WRAPPER'
#!/bin/sh
export PYTHONSAFEPATH=1
exec "$(dirname "$(readlink -f "$0")")/python" -m edge_app "$@"
WRAPPER
        chmod 755 "$part/bin/edge-app"
        # Units and documents belong to the version, and come back with it.
        mkdir -p "$part/kit/docs"
        cp -R "$here" "$part/kit/systemd"
        cp "$kit"/docs/*.md "$part/kit/docs/"
        cp -R "$kit/docs/mosquitto" "$part/kit/docs/"
        chmod -R u=rwX,go=rX "$part/kit"
        "$part/bin/edge-app" --version >/dev/null || fail "the new version does not start; nothing was changed."
        sync_folder "$part"
        mv -T "$part" "$opt/versions/$name"
    fi
    switch_to "versions/$name"
    for folder in "$opt"/versions/*; do
        case "versions/$(basename "$folder")" in
        "$(readlink "$opt/current")" | "$(readlink "$opt/previous" || true)") ;;
        *) rm -rf "$folder" ;;
        esac
    done
}

# Make $1 the version in force, and the one in force the previous one.
switch_to() {
    now=$(readlink "$opt/current" || true)
    [ "$now" != "$1" ] || return 0
    [ -z "$now" ] || point "$opt/previous" "$now"
    point "$opt/current" "$1"
    sync_folder "$opt"
}

# The units of the version in force: those asked for now, and those that are here already.
place_units() {
    from=$opt/current/kit/systemd
    mkdir -p "$unit_folder" "$usr_local/lib/sysusers.d" "$usr_local/lib/tmpfiles.d"
    for unit in $(units) $(installed_units); do renew "$from/$unit" "$unit_folder/$unit"; done
    renew "$from/edge-app.sysusers" "$usr_local/lib/sysusers.d/edge-app.conf"
    renew "$from/edge-app.tmpfiles" "$usr_local/lib/tmpfiles.d/edge-app.conf"
    sync_folder "$usr_local"
}

# A version that an older install.sh installed has no files of its own, and leaves those that are there.
renew() {
    [ -e "$1" ] || return 0
    cp "$1" "$2.new"
    mv "$2.new" "$2"
}

place_files() {
    mkdir -p "$etc" "$usr_local/bin" "$usr_local/share/doc" "$root/etc/systemd/system"
    [ -L "$doc_folder" ] || rm -rf "$doc_folder" # a folder, of an older install.sh
    point "$doc_folder" /opt/edge-app/current/kit/docs
    point "$usr_local/bin/edge-app" /opt/edge-app/current/bin/edge-app
    if [ -n "$with_mipi" ]; then
        mkdir -p "$root/etc/modprobe.d"
        keep_or_copy "$here/mipi-bridge.env" "$etc/mipi-bridge.env"
        keep_or_copy "$here/mipi-bridge.modprobe" "$root/etc/modprobe.d/edge-app-mipi.conf"
    fi
    if [ ! -e "$etc/config.toml" ]; then
        sample=$kit/config-sample.toml # in the repository it is config.toml
        [ -e "$sample" ] || sample=$kit/config.toml
        # Never open to others, not even for the moment until tmpfiles gives it to its group.
        (umask 077 && sed 's/^# cache_dir = /cache_dir = /' "$sample" >"$etc/config.toml.new")
        mv "$etc/config.toml.new" "$etc/config.toml"
        say "wrote $etc/config.toml; set the broker, the bundles and the camera there."
    fi
    if [ -n "$allowed" ]; then allow_addresses; fi
    systemd-sysusers ${root:+--root="$root"} edge-app.conf
    systemd-tmpfiles ${root:+--root="$root"} --create edge-app.conf
}

# Add to the drop-in what is not in it yet; what is there stays, whoever wrote it.
allow_addresses() {
    mkdir -p "$(dirname "$network")"
    {
        if [ -e "$network" ]; then
            grep '' "$network" # and not cat: an editor may have left out the last line's end
        else
            echo "# Whom the service may talk to beside this machine. install.sh --allow adds lines; remove them here."
            echo "[Service]"
        fi
        for address in $allowed; do
            grep -qsxF "IPAddressAllow=$address" "$network" || echo "IPAddressAllow=$address"
        done
    } >"$network.new"
    mv "$network.new" "$network"
}

keep_or_copy() { [ -e "$2" ] || cp "$1" "$2"; }

units() {
    echo edge-app.service
    if [ -n "$with_display" ]; then echo edge-app-display.service; fi
    if [ -n "$with_mipi" ]; then echo mipi-bridge.service; fi
}

installed_units() {
    for unit in $all_units; do
        if [ -e "$unit_folder/$unit" ]; then echo "$unit"; fi
    done
}

enable_units() {
    # shellcheck disable=SC2046  # a list of words
    systemctl ${root:+--root="$root"} --quiet enable $(units)
    restart_units
}

# What runs goes on with the version in force; what was stopped stays stopped.
restart_units() {
    [ -n "$is_live" ] || return 0
    systemctl daemon-reload
    for unit in $(installed_units); do systemctl try-restart "$unit"; done
}

rollback() {
    before=$(readlink "$opt/previous" || true)
    [ -d "$opt/${before:-none}" ] || fail "there is no version before this one."
    switch_to "$before"
    place_units
    restart_units
    say "in force: $(readlink "$opt/current")"
}

uninstall() {
    for unit in $(installed_units); do
        if [ -n "$is_live" ]; then systemctl --quiet stop "$unit"; fi
        systemctl ${root:+--root="$root"} --quiet disable "$unit"
        rm -f "$unit_folder/$unit"
    done
    rm -rf "$opt" "$doc_folder"
    rm -f "$usr_local/bin/edge-app" "$usr_local/lib/sysusers.d/edge-app.conf" "$usr_local/lib/tmpfiles.d/edge-app.conf"
    if [ -n "$purge" ]; then
        rm -rf "$etc" "$root/var/lib/edge-app" "$root/var/cache/edge-app" "$root/var/cache/edge-app-display" \
            "$root/var/cache/mipi-bridge" "$root/etc/systemd/system/edge-app.service.d"
        rm -f "$root/etc/modprobe.d/edge-app-mipi.conf"
    else
        say "configuration and state stay in $etc and $root/var/lib/edge-app; --purge removes them too."
    fi
    if [ -n "$is_live" ]; then systemctl daemon-reload; fi
}

case "$action" in
install)
    check_wheelhouse
    check_python
    check_addresses
    install_program
    place_units
    place_files
    enable_units
    say "in force: $(readlink "$opt/current")"
    if [ -e "$network" ]; then
        say "beside this machine the service may talk to:" "$(sed -n 's/^IPAddressAllow=//p' "$network" | xargs)"
    else
        say "the service may talk to this machine only; name the broker with --allow ADDRESS."
    fi
    if [ -n "$is_live" ]; then say "next: edit $etc/config.toml, edge-app doctor, systemctl start edge-app"; fi
    ;;
rollback) rollback ;;
uninstall) uninstall ;;
esac
