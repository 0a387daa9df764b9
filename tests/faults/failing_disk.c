/* A disk that fails now and then: loaded with LD_PRELOAD, it lets writes and syncs of some files fail.
 *
 * FAILING_DISK_FOLDER  files below it are concerned, and no others
 * FAILING_DISK_SHARE   of the calls, how many fail (0 to 1), with ENOSPC or EIO in turn
 * FAILING_DISK_SEED    begins the sequence of chances
 *
 * libfiu's fiu-run does the same, but with one and the same sequence of chances in every run, and to every file.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int fails(int fd) {
    static unsigned short state[3];
    static int seeded, turn;
    char link[64], path[PATH_MAX];
    const char *folder = getenv("FAILING_DISK_FOLDER");
    if (!folder) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    if (strncmp(path, folder, strlen(folder)) != 0) return 0;
    if (!seeded) {
        seeded = 1;
        state[0] = (unsigned short)atoi(getenv("FAILING_DISK_SEED"));
    }
    if (erand48(state) >= atof(getenv("FAILING_DISK_SHARE"))) return 0;
    errno = turn++ % 2 ? EIO : ENOSPC;
    return 1;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    return fails(fd) ? -1 : REAL(pwrite64)(fd, data, size, at);
}

int fdatasync(int fd) { return fails(fd) ? -1 : REAL(fdatasync)(fd); }

int fsync(int fd) { return fails(fd) ? -1 : REAL(fsync)(fd); }

int ftruncate64(int fd, off64_t size) { return fails(fd) ? -1 : REAL(ftruncate64)(fd, size); }
