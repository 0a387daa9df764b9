/* Memory: what the plugin holds of the device's, counted by the byte. */
#include "layer.h"

typedef void *(CL_API_CALL *HostAlloc)(cl_context, const cl_mem_properties_intel *, size_t, cl_uint, cl_int *);
typedef void *(CL_API_CALL *DeviceAlloc)(cl_context, cl_device_id, const cl_mem_properties_intel *, size_t, cl_uint, cl_int *);
typedef cl_int(CL_API_CALL *Free)(cl_context, void *);
typedef cl_int(CL_API_CALL *AllocInfo)(cl_context, const void *, cl_mem_info_intel, size_t, void *, size_t *);
static HostAlloc host_alloc;
static DeviceAlloc device_alloc, shared_alloc;
static Free usm_free, usm_blocking_free;
static AllocInfo alloc_info;

static void *counted(void *made, size_t size)
{
    if (made) {
        add(USM_ALLOCS, 1);
        uint64_t live = __atomic_add_fetch(&counters[USM_LIVE], size, __ATOMIC_RELAXED);
        if (live > counters[USM_PEAK]) counters[USM_PEAK] = live;
    }
    return made;
}
static void uncount(cl_context c, void *p)
{
    size_t size = 0;
    if (alloc_info && p) alloc_info(c, p, CL_MEM_ALLOC_SIZE_INTEL, sizeof size, &size, NULL);
    add(USM_FREES, 1);
    __atomic_sub_fetch(&counters[USM_LIVE], size, __ATOMIC_RELAXED);
}
static void *CL_API_CALL my_host_alloc(cl_context c, const cl_mem_properties_intel *p, size_t n, cl_uint a, cl_int *e)
{
    return counted(host_alloc(c, p, n, a, e), n);
}
static void *CL_API_CALL my_device_alloc(cl_context c, cl_device_id d, const cl_mem_properties_intel *p, size_t n, cl_uint a,
                                         cl_int *e)
{
    return counted(device_alloc(c, d, p, n, a, e), n);
}
static void *CL_API_CALL my_shared_alloc(cl_context c, cl_device_id d, const cl_mem_properties_intel *p, size_t n, cl_uint a,
                                         cl_int *e)
{
    return counted(shared_alloc(c, d, p, n, a, e), n);
}
static cl_int CL_API_CALL my_free(cl_context c, void *p)
{
    uncount(c, p);
    return usm_free(c, p);
}
static cl_int CL_API_CALL my_blocking_free(cl_context c, void *p)
{
    uncount(c, p);
    return usm_blocking_free(c, p);
}

static void *CL_API_CALL extension(cl_platform_id p, const char *name)
{
    void *theirs = next_->clGetExtensionFunctionAddressForPlatform(p, name);
    if (!theirs) {
        say(log_file, "# no function %s\n", name);
        return NULL;
    }
    if (!alloc_info) alloc_info = (AllocInfo)next_->clGetExtensionFunctionAddressForPlatform(p, "clGetMemAllocInfoINTEL");
#define WRAP(text, theirs_, mine_) if (!strcmp(name, text)) { theirs_ = theirs; return (void *)mine_; }
    WRAP("clHostMemAllocINTEL", host_alloc, my_host_alloc)
    WRAP("clDeviceMemAllocINTEL", device_alloc, my_device_alloc)
    WRAP("clSharedMemAllocINTEL", shared_alloc, my_shared_alloc)
    WRAP("clMemFreeINTEL", usm_free, my_free)
    WRAP("clMemBlockingFreeINTEL", usm_blocking_free, my_blocking_free)
    return theirs;
}

static cl_mem CL_API_CALL buffer(cl_context c, cl_mem_flags f, size_t n, void *host, cl_int *err)
{
    add(BUFFERS, 1);
    return next_->clCreateBuffer(c, f, n, host, err);
}

void replace_memory_functions(cl_icd_dispatch *mine)
{
    mine->clGetExtensionFunctionAddressForPlatform = extension;
    mine->clCreateBuffer = buffer;
}
