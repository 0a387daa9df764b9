/* The entry points of the layer, which the OpenCL loader calls. */
#include "layer.h"

const cl_icd_dispatch *next_;
int is_linear = 1;
static cl_icd_dispatch mine;

EXPORTED cl_int CL_API_CALL clGetLayerInfo(cl_layer_info what, size_t room, void *out, size_t *size_ret)
{
    switch (what) {
    case CL_LAYER_API_VERSION: ANSWER(cl_layer_api_version, CL_LAYER_API_VERSION_100);
    case CL_LAYER_NAME: ANSWER_TEXT("fakexe");
    default: return CL_INVALID_VALUE;
    }
}

static FILE *appended(const char *variable)
{
    const char *path = getenv(variable);
    return path && *path ? fopen(path, "a") : NULL;
}

EXPORTED cl_int CL_API_CALL clInitLayer(cl_uint n, const cl_icd_dispatch *target, cl_uint *n_ret, const cl_icd_dispatch **layer)
{
    if (!target || !n_ret || !layer || n < sizeof mine / sizeof(void *)) return CL_INVALID_VALUE;
    log_file = appended("FAKEXE_LOG");
    trace_file = appended("FAKEXE_TRACE");
    is_linear = (int)number("FAKEXE_LINEAR", 1);
    next_ = target;
    mine = *target;
    replace_device_functions(&mine);
    replace_program_functions(&mine);
    replace_launch_functions(&mine);
    replace_memory_functions(&mine);
    *n_ret = sizeof mine / sizeof(void *);
    *layer = &mine;
    return CL_SUCCESS;
}
