/* A wall clock that can be set: loaded with LD_PRELOAD, it moves CLOCK_REALTIME and no other clock.
 *
 * WALL_CLOCK_OFFSET  a file with the number of seconds to add, read at every call
 *
 * libfaketime would move the monotonic clock as well, which no one who sets a board's clock does.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static long offset_s(void) {
    long seconds = 0;
    const char *path = getenv("WALL_CLOCK_OFFSET");
    FILE *file = path ? fopen(path, "r") : NULL;
    if (file) {
        if (fscanf(file, "%ld", &seconds) != 1) seconds = 0;
        fclose(file);
    }
    return seconds;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = REAL(clock_gettime)(clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += offset_s();
    return failed;
}

int gettimeofday(struct timeval *now, void *zone) {
    int failed = REAL(gettimeofday)(now, zone);
    if (!failed) now->tv_sec += offset_s();
    return failed;
}

time_t time(time_t *where) {
    time_t now = REAL(time)(NULL) + offset_s();
    if (where) *where = now;
    return now;
}
