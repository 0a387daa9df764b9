#!/bin/sh
# Make FOLDER/with-gpu, under which OpenVINO finds an emulated iGPU (docs/igpu.md).
#
#   tests/gpu/make.sh FOLDER PYTHON
#
# Called by `./setup.sh gpu`, which has installed the Debian packages: an OpenCL loader, OpenCL's headers, gcc.
# Intel's OpenCL runtime for CPUs comes from pip, with the versions and hashes of requirements/gpu.txt, into an
# environment of its own that the project's Python does not see. It is proprietary: for tests, not to be shipped.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
requirements=$here/../../requirements/gpu.txt
python=$2
mkdir -p "$1"
folder=$(cd "$1" && pwd)

# What is there already is of these files and of this folder, or it is made anew.
state=$(printf '%s\n' "$folder" | cat - "$0" "$requirements" "$here"/layer/*.[ch] | sha256sum)
[ -x "$folder/with-gpu" ] && [ "$(cat "$folder/state" 2>/dev/null)" = "$state" ] && exit
rm -rf "$folder/with-gpu" "$folder/state" "$folder/runtime" "$folder/libraries" "$folder/vendors"

"$python" -m venv "$folder/runtime"
"$folder/runtime/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r "$requirements"

# All of its libraries but its OpenCL loader, which wants newer layers than this one. Debian's takes it.
mkdir "$folder/libraries" "$folder/vendors"
for library in "$folder"/runtime/lib/*.so*; do
    case "$library" in */libOpenCL*) continue ;; esac
    ln -s "$library" "$folder/libraries/"
done
echo "$folder/runtime/lib/libintelocl.so" >"$folder/vendors/intel.icd"

gcc -O1 -g -Wall -Wextra -Wno-unused-parameter -fPIC -shared -fvisibility=hidden -o "$folder/libfakexe.so" \
    "$here"/layer/*.c -lpthread

# The runtime needs a newer oneTBB than OpenVINO's wheel has, under the same file name. Preloaded, the newer one serves both.
cat >"$folder/with-gpu" <<END
#!/bin/sh
export OCL_ICD_VENDORS='$folder/vendors' OPENCL_LAYERS='$folder/libfakexe.so'
export LD_LIBRARY_PATH='$folder/libraries'"\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
export LD_PRELOAD='$folder/libraries/libtbb.so.12:$folder/libraries/libtbbmalloc.so.2'"\${LD_PRELOAD:+:\$LD_PRELOAD}"
exec "\$@"
END
chmod +x "$folder/with-gpu"
printf '%s\n' "$state" >"$folder/state"
