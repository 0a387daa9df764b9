/* Counters, and the log of builds and launches. */
#include "layer.h"
#include <stdarg.h>
#include <time.h>

pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
FILE *log_file, *trace_file;
uint64_t counters[N_COUNTERS];

/* Copy at most `n` counters to `out`; return how many there are. */
EXPORTED int fakexe_counters(uint64_t *out, int n)
{
    for (int i = 0; i < n && i < N_COUNTERS; i++) out[i] = __atomic_load_n(&counters[i], __ATOMIC_RELAXED);
    return N_COUNTERS;
}

/* Return the names of the counters, in their order, separated by spaces. */
EXPORTED const char *fakexe_counter_names(void)
{
    return "sources binaries builds_source builds_binary build_failures kernels launches build_us source_bytes "
           "usm_allocs usm_frees usm_live usm_peak buffers queues released_programs released_kernels";
}

void add(int which, uint64_t n) { __atomic_add_fetch(&counters[which], n, __ATOMIC_RELAXED); }

double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

void say(FILE *file, const char *format, ...)
{
    if (!file) return;
    va_list args;
    va_start(args, format);
    pthread_mutex_lock(&lock);
    vfprintf(file, format, args);
    fflush(file);
    pthread_mutex_unlock(&lock);
    va_end(args);
}

unsigned long number(const char *variable, unsigned long otherwise)
{
    const char *text = getenv(variable);
    return text && *text ? strtoul(text, NULL, 0) : otherwise;
}
