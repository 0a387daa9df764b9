/* Launches.
 *
 * A GPU cuts sub-groups out of the linear order of a work-group. The CPU runtime cuts them along x alone, so that a
 * work-group of (1, 1, 16) would be 16 sub-groups of one work-item. Here each work-group is launched as a line along x,
 * and the kernel computes the ids it would have had (PREFIX in programs.c).
 */
#include "layer.h"

/* The driver's choice of a local size, where the caller makes none: any divisor will do. */
static size_t local_size_for(size_t global)
{
    for (size_t size = 256; size > 1; size--)
        if (global % size == 0) return size;
    return 1;
}

static void trace(const char *name, cl_uint dims, const size_t *offset, const size_t *global, const size_t *local)
{
    say(trace_file, "%s g=%zu,%zu,%zu l=%zu,%zu,%zu%s\n", name, global[0], dims > 1 ? global[1] : 1,
        dims > 2 ? global[2] : 1, local ? local[0] : 0, local && dims > 1 ? local[1] : 1,
        local && dims > 2 ? local[2] : 1, offset ? " OFFSET" : "");
}

static cl_int CL_API_CALL launch(cl_command_queue q, cl_kernel k, cl_uint dims, const size_t *offset, const size_t *global,
                                 const size_t *local, cl_uint n, const cl_event *wait, cl_event *event)
{
    const char *skipped = getenv("FAKEXE_SKIP");
    add(LAUNCHES, 1);
    if (trace_file || (skipped && *skipped)) {
        char name[256] = "";
        next_->clGetKernelInfo(k, CL_KERNEL_FUNCTION_NAME, sizeof name, name, NULL);
        trace(name, dims, offset, global, local);
        if (skipped && *skipped && strstr(name, skipped)) return next_->clEnqueueMarkerWithWaitList(q, n, wait, event);
    }
    if (!is_linear) return next_->clEnqueueNDRangeKernel(q, k, dims, offset, global, local, n, wait, event);
    size_t l[3] = {1, 1, 1}, g[3] = {1, 1, 1};
    for (cl_uint i = 0; i < dims; i++) {
        g[i] = global[i];
        if (local) l[i] = local[i];
        if (offset && offset[i]) { /* it carries the local size, see below; OpenVINO does not use it */
            fprintf(stderr, "fakexe: a launch with a global offset, which the layer does not support\n");
            return CL_INVALID_GLOBAL_OFFSET;
        }
    }
    if (!local) l[0] = local_size_for(g[0]);
    for (int i = 0; i < 3; i++)
        if (!l[i] || g[i] % l[i]) {
            fprintf(stderr, "fakexe: the global size %zu is no multiple of the local size %zu\n", g[i], l[i]);
            return CL_INVALID_WORK_GROUP_SIZE;
        }
    size_t items = l[0] * l[1] * l[2];
    if (items > LARGEST_WORK_GROUP) return CL_INVALID_WORK_GROUP_SIZE;
    size_t line_global[3] = {g[0] / l[0] * items, g[1] / l[1], g[2] / l[2]}, line_local[3] = {items, 1, 1};
    return next_->clEnqueueNDRangeKernel(q, k, 3, l, line_global, line_local, n, wait, event);
}

static cl_int CL_API_CALL kernel_group_info(cl_kernel k, cl_device_id d, cl_kernel_work_group_info what, size_t room,
                                            void *out, size_t *size_ret)
{
    if (what == CL_KERNEL_WORK_GROUP_SIZE) ANSWER(size_t, LARGEST_WORK_GROUP);
    return next_->clGetKernelWorkGroupInfo(k, d, what, room, out, size_ret);
}

static cl_int CL_API_CALL kernel_info(cl_kernel k, cl_kernel_info what, size_t room, void *out, size_t *size_ret)
{
    cl_int result = next_->clGetKernelInfo(k, what, room, out, size_ret);
    if (result != CL_SUCCESS) say(log_file, "# clGetKernelInfo 0x%x: %d\n", what, result);
    return result;
}

void replace_launch_functions(cl_icd_dispatch *mine)
{
    mine->clEnqueueNDRangeKernel = launch;
    mine->clGetKernelInfo = kernel_info;
    mine->clGetKernelWorkGroupInfo = kernel_group_info;
}
