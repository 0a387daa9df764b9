/* What the device says of itself, where OpenVINO asks. */
#include "layer.h"

/* Of the extensions of an Xe-LP GPU, those that the CPU runtime has, or that need nothing of it. */
static const char EXTENSIONS[] =
    "cl_khr_byte_addressable_store cl_khr_device_uuid cl_khr_fp16 cl_khr_global_int32_base_atomics "
    "cl_khr_global_int32_extended_atomics cl_khr_icd cl_khr_local_int32_base_atomics "
    "cl_khr_local_int32_extended_atomics cl_intel_command_queue_families cl_intel_subgroups "
    "cl_intel_required_subgroup_size cl_intel_subgroups_short cl_khr_spir cl_khr_priority_hints cl_khr_throttle_hints "
    "cl_khr_create_command_queue cl_intel_subgroups_char cl_intel_subgroups_long cl_khr_il_program "
    "cl_khr_subgroup_extended_types cl_khr_subgroup_non_uniform_vote cl_khr_subgroup_ballot "
    "cl_khr_subgroup_non_uniform_arithmetic cl_khr_subgroup_shuffle cl_khr_subgroup_shuffle_relative "
    "cl_khr_subgroup_clustered_reduce cl_intel_device_attribute_query cl_khr_suggested_local_work_size "
    "cl_intel_spirv_subgroups cl_intel_unified_shared_memory cl_ext_float_atomics cl_khr_int64_base_atomics "
    "cl_khr_int64_extended_atomics cl_khr_image2d_from_buffer cl_khr_depth_images cl_khr_3d_image_writes "
    "cl_intel_subgroup_local_block_io cl_khr_integer_dot_product cl_khr_pci_bus_info cl_khr_subgroups ";

static cl_int CL_API_CALL device_info(cl_device_id device, cl_device_info what, size_t room, void *out, size_t *size_ret)
{
    unsigned long eus = number("FAKEXE_EU", 32), memory_mb = number("FAKEXE_MEM_MB", 6400);
    switch (what) {
    case CL_DEVICE_TYPE: ANSWER(cl_device_type, CL_DEVICE_TYPE_GPU);
    case CL_DEVICE_NAME: ANSWER_TEXT("Intel(R) UHD Graphics");
    case CL_DEVICE_VENDOR: ANSWER_TEXT("Intel(R) Corporation");
    case CL_DEVICE_VENDOR_ID: ANSWER(cl_uint, 0x8086);
    case CL_DEVICE_VERSION: ANSWER_TEXT("OpenCL 3.0 NEO ");
    case CL_DEVICE_OPENCL_C_VERSION: ANSWER_TEXT("OpenCL C 1.2 ");
    case CL_DRIVER_VERSION: ANSWER_TEXT("25.18.33578-fakexe");
    case CL_DEVICE_MAX_COMPUTE_UNITS: ANSWER(cl_uint, eus);
    case CL_DEVICE_MAX_CLOCK_FREQUENCY: ANSWER(cl_uint, 1250);
    case CL_DEVICE_MAX_WORK_GROUP_SIZE: ANSWER(size_t, LARGEST_WORK_GROUP);
    case CL_DEVICE_MAX_WORK_ITEM_SIZES: {
        size_t sizes[3] = {LARGEST_WORK_GROUP, LARGEST_WORK_GROUP, LARGEST_WORK_GROUP};
        return answer(sizes, sizeof sizes, room, out, size_ret);
    }
    case CL_DEVICE_MAX_NUM_SUB_GROUPS: ANSWER(cl_uint, 64);
    case CL_DEVICE_SUB_GROUP_SIZES_INTEL: {
        size_t sizes[3] = {8, 16, 32};
        return answer(sizes, sizeof sizes, room, out, size_ret);
    }
    case CL_DEVICE_SUB_GROUP_INDEPENDENT_FORWARD_PROGRESS: ANSWER(cl_bool, CL_TRUE);
    case CL_DEVICE_LOCAL_MEM_SIZE: ANSWER(cl_ulong, 65536);
    case CL_DEVICE_LOCAL_MEM_TYPE: ANSWER(cl_device_local_mem_type, CL_LOCAL);
    case CL_DEVICE_GLOBAL_MEM_SIZE: ANSWER(cl_ulong, (cl_ulong)memory_mb << 20);
    case CL_DEVICE_MAX_MEM_ALLOC_SIZE: {
        cl_ulong half = (cl_ulong)memory_mb << 19, limit = 4294959104ull;
        ANSWER(cl_ulong, half < limit ? half : limit);
    }
    case CL_DEVICE_GLOBAL_MEM_CACHE_SIZE: ANSWER(cl_ulong, 1920 * 1024);
    case CL_DEVICE_HOST_UNIFIED_MEMORY: ANSWER(cl_bool, CL_TRUE);
    case CL_DEVICE_HALF_FP_CONFIG:
    case CL_DEVICE_SINGLE_FP_CONFIG:
        ANSWER(cl_device_fp_config, CL_FP_DENORM | CL_FP_INF_NAN | CL_FP_ROUND_TO_NEAREST | CL_FP_ROUND_TO_ZERO
                                        | CL_FP_ROUND_TO_INF | CL_FP_FMA);
    case CL_DEVICE_DOUBLE_FP_CONFIG: ANSWER(cl_device_fp_config, 0);
    case CL_DEVICE_EXTENSIONS: ANSWER_TEXT(EXTENSIONS);
    case CL_DEVICE_PARTITION_MAX_SUB_DEVICES: ANSWER(cl_uint, 0);
    case CL_DEVICE_PARTITION_PROPERTIES: ANSWER(cl_device_partition_property, 0);
    case CL_DEVICE_PARTITION_AFFINITY_DOMAIN: ANSWER(cl_device_affinity_domain, 0);
    /* cl_intel_device_attribute_query: 12.4.0 is Alder Lake-N */
    case CL_DEVICE_IP_VERSION_INTEL: ANSWER(cl_version, (12u << 22) | (4u << 14));
    case CL_DEVICE_ID_INTEL: ANSWER(cl_uint, number("FAKEXE_DEVICE_ID", 0x46D0));
    case CL_DEVICE_NUM_SLICES_INTEL: ANSWER(cl_uint, 1);
    case CL_DEVICE_NUM_SUB_SLICES_PER_SLICE_INTEL: ANSWER(cl_uint, 2);
    case CL_DEVICE_NUM_EUS_PER_SUB_SLICE_INTEL: ANSWER(cl_uint, eus / 2);
    case CL_DEVICE_NUM_THREADS_PER_EU_INTEL: ANSWER(cl_uint, 7);
    case CL_DEVICE_FEATURE_CAPABILITIES_INTEL:
        ANSWER(cl_device_feature_capabilities_intel, CL_DEVICE_FEATURE_FLAG_DP4A_INTEL);
    case CL_DEVICE_PCI_BUS_INFO_KHR: {
        cl_device_pci_bus_info_khr bus = {0, 0, 2, 0};
        return answer(&bus, sizeof bus, room, out, size_ret);
    }
    case CL_DEVICE_QUEUE_FAMILY_PROPERTIES_INTEL: {
        cl_queue_family_properties_intel family = {
            .properties = CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE | CL_QUEUE_PROFILING_ENABLE,
            .capabilities = CL_QUEUE_DEFAULT_CAPABILITIES_INTEL, .count = 1, .name = "rcs"};
        return answer(&family, sizeof family, room, out, size_ret);
    }
    default: {
        cl_int result = next_->clGetDeviceInfo(device, what, room, out, size_ret);
        if (result != CL_SUCCESS) say(log_file, "# clGetDeviceInfo 0x%x: %d\n", what, result);
        return result;
    }
    }
}

static cl_int CL_API_CALL platform_info(cl_platform_id p, cl_platform_info what, size_t room, void *out, size_t *size_ret)
{
    switch (what) {
    case CL_PLATFORM_NAME: ANSWER_TEXT("Intel(R) OpenCL Graphics");
    case CL_PLATFORM_VERSION: ANSWER_TEXT("OpenCL 3.0 ");
    case CL_PLATFORM_EXTENSIONS: ANSWER_TEXT(EXTENSIONS);
    default: return next_->clGetPlatformInfo(p, what, room, out, size_ret);
    }
}

static cl_int CL_API_CALL device_ids(cl_platform_id p, cl_device_type type, cl_uint n, cl_device_id *out, cl_uint *n_ret)
{
    if (type == CL_DEVICE_TYPE_CPU || type == CL_DEVICE_TYPE_ACCELERATOR) {
        if (n_ret) *n_ret = 0;
        return CL_DEVICE_NOT_FOUND;
    }
    return next_->clGetDeviceIDs(p, CL_DEVICE_TYPE_CPU, n, out, n_ret);
}

/* Of the properties of a queue only the general ones: priority, throttle and family are known to the GPU driver alone. */
static cl_command_queue CL_API_CALL queue_with(cl_context c, cl_device_id d, const cl_queue_properties *asked, cl_int *err)
{
    cl_queue_properties kept[3] = {0};
    for (; asked && *asked; asked += 2)
        if (*asked == CL_QUEUE_PROPERTIES) {
            kept[0] = asked[0];
            kept[1] = asked[1];
        }
    add(QUEUES, 1);
    return next_->clCreateCommandQueueWithProperties(c, d, kept, err);
}

void replace_device_functions(cl_icd_dispatch *mine)
{
    mine->clGetPlatformInfo = platform_info;
    mine->clGetDeviceIDs = device_ids;
    mine->clGetDeviceInfo = device_info;
    mine->clCreateCommandQueueWithProperties = queue_with;
}
