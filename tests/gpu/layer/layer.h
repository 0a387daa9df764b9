/* fakexe: an OpenCL layer that presents a CPU OpenCL device as an Intel Xe-LP integrated GPU (Alder Lake-N).
 *
 * For tests of OpenVINO's GPU plugin on a machine without a GPU. The OpenCL loader loads it through OPENCL_LAYERS.
 *
 *   device.c    answers device queries as the UHD Graphics of an N-series processor does
 *   programs.c  adds to each kernel source the functions that launches.c needs; keeps programs alive; fails builds on request
 *   launches.c  launches each work-group as a line along x; leaves launches out on request
 *   memory.c    counts allocations
 *   counters.c  counters that Python reads through ctypes (tests/gpu/counters.py), and the log
 *   layer.c     the two entry points that the loader calls
 *
 * Environment:
 *   FAKEXE_LOG=FILE       a line for each build: time, ms, kernels, hash of the source, options
 *   FAKEXE_TRACE=FILE     a line for each launch: kernel, global size, local size
 *   FAKEXE_DUMP=FOLDER    the sources of builds that failed; of all with FAKEXE_DUMP_ALL=1
 *   FAKEXE_OPTIONS=TEXT   more build options, such as -cl-opt-disable: then every sum of halves is rounded
 *   FAKEXE_FAIL=TEXT      fault: building a source that contains TEXT fails
 *   FAKEXE_SKIP=TEXT      fault: kernels whose names contain TEXT are never run, so their results are wrong
 *   FAKEXE_LINEAR=0       fault: launch as asked, sources unchanged; sub-groups and so most results are then wrong
 *   FAKEXE_MEM_MB, FAKEXE_EU, FAKEXE_DEVICE_ID   what the device says of its memory, execution units and PCI id
 */
#ifndef FAKEXE_LAYER_H
#define FAKEXE_LAYER_H

#define _GNU_SOURCE
#define CL_TARGET_OPENCL_VERSION 300
#define CL_USE_DEPRECATED_OPENCL_1_0_APIS
#define CL_USE_DEPRECATED_OPENCL_1_1_APIS
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#define CL_USE_DEPRECATED_OPENCL_2_0_APIS
#define CL_USE_DEPRECATED_OPENCL_2_1_APIS
#define CL_USE_DEPRECATED_OPENCL_2_2_APIS
#include <CL/cl.h>
#include <CL/cl_ext.h>
#include <CL/cl_layer.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORTED __attribute__((visibility("default")))
#define LARGEST_WORK_GROUP 512 /* work-items, as on Xe-LP */

extern const cl_icd_dispatch *next_; /* the functions below this layer: the loader's, then the CPU runtime's */
extern pthread_mutex_t lock;
extern FILE *log_file, *trace_file;
extern int is_linear; /* launch lines, the rule; 0 with FAKEXE_LINEAR=0 */

/* counters.c; the names that Python reads are there, in this order */
enum {
    SOURCES, BINARIES, BUILDS_SOURCE, BUILDS_BINARY, BUILD_FAILURES, KERNELS, LAUNCHES, BUILD_US, SOURCE_BYTES,
    USM_ALLOCS, USM_FREES, USM_LIVE, USM_PEAK, BUFFERS, QUEUES, RELEASED_PROGRAMS, RELEASED_KERNELS, N_COUNTERS
};
extern uint64_t counters[N_COUNTERS];
void add(int which, uint64_t n);
double now_s(void);
void say(FILE *file, const char *format, ...) __attribute__((format(printf, 2, 3)));
unsigned long number(const char *variable, unsigned long otherwise);

/* Fill the layer's table with the functions of one file. */
void replace_device_functions(cl_icd_dispatch *mine);
void replace_program_functions(cl_icd_dispatch *mine);
void replace_launch_functions(cl_icd_dispatch *mine);
void replace_memory_functions(cl_icd_dispatch *mine);

/* Answer an OpenCL query with `size` bytes at `value`. */
static inline cl_int answer(const void *value, size_t size, size_t room, void *out, size_t *size_ret)
{
    if (size_ret) *size_ret = size;
    if (out) {
        if (room < size) return CL_INVALID_VALUE;
        memcpy(out, value, size);
    }
    return CL_SUCCESS;
}
#define ANSWER_TEXT(s) return answer(s, sizeof(s), room, out, size_ret)
#define ANSWER(type, v) do { type value_ = (v); return answer(&value_, sizeof value_, room, out, size_ret); } while (0)

#endif
