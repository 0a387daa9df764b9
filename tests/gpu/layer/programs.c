/* Programs and kernels: sources get the functions that a launch as a line needs, builds are counted and logged. */
#include "layer.h"

/* ---- what is known of a program: an open hash table by its address ---- */

typedef struct { void *key; char *text; uint64_t hash; int is_binary; } Entry;
#define TABLE 65536
static Entry programs[TABLE];

static Entry *slot(void *key, int make)
{
    size_t i = ((uintptr_t)key >> 4) * 11400714819323198485ull >> 48;
    for (size_t n = 0; n < TABLE; n++, i = (i + 1) % TABLE) {
        if (programs[i].key == key) return &programs[i];
        if (!programs[i].key) {
            if (!make) return NULL;
            programs[i].key = key;
            return &programs[i];
        }
    }
    return NULL;
}
static uint64_t fnv(const char *text)
{
    uint64_t h = 1469598103934665603ull;
    for (; *text; text++) h = (h ^ (unsigned char)*text) * 1099511628211ull;
    return h;
}

/* ---- sources ---- */

/* The launch carries the true local sizes in the global offset, which OpenVINO does not use. */
static const char PREFIX[] =
    "#ifndef FAKEXE_PREFIX\n"
    "#define FAKEXE_PREFIX\n"
    "#define FX_FN __attribute__((always_inline, overloadable)) static\n"
    "FX_FN size_t fx_lsz(uint d) { return d > 2 ? 1 : get_global_offset(d); }\n"
    "FX_FN size_t fx_lid(uint d) { size_t l = get_local_id(0), x = fx_lsz(0), y = fx_lsz(1);\n"
    "  return d == 0 ? l % x : d == 1 ? l / x % y : d == 2 ? l / (x * y) : 0; }\n"
    "FX_FN size_t fx_gid(uint d) { return d > 2 ? 0 : get_group_id(d) * fx_lsz(d) + fx_lid(d); }\n"
    "FX_FN size_t fx_gsz(uint d) { return d > 2 ? 1 : get_num_groups(d) * fx_lsz(d); }\n"
    "FX_FN size_t fx_glin(void) { return (fx_gid(2) * fx_gsz(1) + fx_gid(1)) * fx_gsz(0) + fx_gid(0); }\n"
    "#define get_local_id(d) fx_lid(d)\n"
    "#define get_local_size(d) fx_lsz(d)\n"
    "#define get_enqueued_local_size(d) fx_lsz(d)\n"
    "#define get_global_id(d) fx_gid(d)\n"
    "#define get_global_size(d) fx_gsz(d)\n"
    "#define get_global_linear_id() fx_glin()\n"
    "#define get_global_offset(d) ((size_t)0)\n"
    "#define reqd_work_group_size(x, y, z) reqd_work_group_size((x) * (y) * (z), 1, 1)\n"
    "#define work_group_size_hint(x, y, z) work_group_size_hint((x) * (y) * (z), 1, 1)\n"
    "#endif\n";

static cl_program CL_API_CALL program_source(cl_context c, cl_uint n, const char **strings, const size_t *lengths, cl_int *err)
{
    size_t total = 0, at = 0;
    for (cl_uint i = 0; i < n; i++) total += lengths && lengths[i] ? lengths[i] : strlen(strings[i]);
    char *text = malloc(total + 1);
    for (cl_uint i = 0; i < n; i++) {
        size_t size = lengths && lengths[i] ? lengths[i] : strlen(strings[i]);
        memcpy(text + at, strings[i], size);
        at += size;
    }
    text[at] = 0;
    add(SOURCES, 1);
    add(SOURCE_BYTES, total);
    const char *both[2] = {is_linear ? PREFIX : "\n", text};
    cl_program made = next_->clCreateProgramWithSource(c, 2, both, NULL, err);
    if (made) {
        pthread_mutex_lock(&lock);
        Entry *entry = slot(made, 1);
        if (entry) {
            free(entry->text);
            entry->text = text;
            entry->hash = fnv(text);
            entry->is_binary = 0;
            text = NULL;
        }
        pthread_mutex_unlock(&lock);
    }
    free(text);
    return made;
}

static cl_program CL_API_CALL program_binary(cl_context c, cl_uint n, const cl_device_id *d, const size_t *lengths,
                                             const unsigned char **binaries, cl_int *status, cl_int *err)
{
    add(BINARIES, 1);
    cl_program made = next_->clCreateProgramWithBinary(c, n, d, lengths, binaries, status, err);
    if (made) {
        pthread_mutex_lock(&lock);
        Entry *entry = slot(made, 1);
        if (entry) {
            free(entry->text);
            entry->text = NULL;
            entry->is_binary = 1;
        }
        pthread_mutex_unlock(&lock);
    }
    return made;
}

/* Options that only Intel's GPU compiler knows are left out. */
static char *options_for(const char *asked)
{
    const char *more = getenv("FAKEXE_OPTIONS");
    char *copy = strdup(asked ? asked : ""), *save = NULL;
    char *kept = calloc(1, strlen(copy) + (more ? strlen(more) : 0) + 4);
    for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
        if (!strncmp(word, "-cl-intel-", 10) || !strncmp(word, "-ze-", 4)) continue;
        strcat(kept, word);
        strcat(kept, " ");
    }
    if (more) strcat(kept, more);
    free(copy);
    return kept;
}

static void dump(const char *why, uint64_t hash, const char *options, const char *text, const char *build_log)
{
    const char *folder = getenv("FAKEXE_DUMP");
    if (!folder || !text) return;
    char path[4096];
    snprintf(path, sizeof path, "%s/%s_%016lx.cl", folder, why, (unsigned long)hash);
    FILE *f = fopen(path, "w");
    if (!f) return;
    fprintf(f, "// options: %s\n%s\n/* log:\n%s\n*/\n", options, text, build_log ? build_log : "");
    fclose(f);
}

static cl_int CL_API_CALL build(cl_program p, cl_uint n, const cl_device_id *d, const char *asked,
                                void(CL_CALLBACK *notify)(cl_program, void *), void *user)
{
    char *options = options_for(asked);
    pthread_mutex_lock(&lock);
    Entry *entry = slot(p, 0);
    uint64_t hash = entry ? entry->hash : 0;
    int is_binary = entry && entry->is_binary;
    char *text = entry && entry->text ? strdup(entry->text) : NULL;
    pthread_mutex_unlock(&lock);
    double started = now_s();
    const char *fail = getenv("FAKEXE_FAIL");
    cl_int result = fail && *fail && text && strstr(text, fail) ? CL_BUILD_PROGRAM_FAILURE
                                                                 : next_->clBuildProgram(p, n, d, options, notify, user);
    double took = now_s() - started;
    add(is_binary ? BUILDS_BINARY : BUILDS_SOURCE, 1);
    add(BUILD_US, (uint64_t)(took * 1e6));
    char names[2000] = "";
    if (result != CL_SUCCESS) {
        add(BUILD_FAILURES, 1);
        size_t size = 0;
        char *build_log = NULL;
        if (n && d && next_->clGetProgramBuildInfo(p, d[0], CL_PROGRAM_BUILD_LOG, 0, NULL, &size) == CL_SUCCESS) {
            build_log = calloc(1, size + 1);
            next_->clGetProgramBuildInfo(p, d[0], CL_PROGRAM_BUILD_LOG, size, build_log, NULL);
        }
        dump("failed", hash, options, text, build_log);
        say(log_file, "# build failed %d: %.600s\n", result, build_log ? build_log : "");
        free(build_log);
    } else {
        next_->clGetProgramInfo(p, CL_PROGRAM_KERNEL_NAMES, sizeof names, names, NULL);
        if (getenv("FAKEXE_DUMP_ALL")) dump("built", hash, options, text, "");
    }
    say(log_file, "%.3f build %s %d ms=%.0f bytes=%zu hash=%016lx kernels=%s options=%s\n", now_s(),
        is_binary ? "binary" : "source", result, took * 1e3, text ? strlen(text) : 0, (unsigned long)hash, names,
        asked ? asked : "");
    free(text);
    free(options);
    return result;
}

static cl_int CL_API_CALL release_program(cl_program p)
{
    cl_uint references = 0;
    next_->clGetProgramInfo(p, CL_PROGRAM_REFERENCE_COUNT, sizeof references, &references, NULL);
    if (references == 1) {
        add(RELEASED_PROGRAMS, 1);
        pthread_mutex_lock(&lock);
        Entry *entry = slot(p, 0);
        if (entry) { /* the slot stays, for the next program of this address */
            free(entry->text);
            entry->text = NULL;
            entry->hash = 0;
        }
        pthread_mutex_unlock(&lock);
    }
    return next_->clReleaseProgram(p);
}

/* A GPU's kernel keeps its program, which OpenVINO asks it for after its own last reference is gone; the CPU runtime
 * refuses such a program. So each kernel holds a reference here. */
static cl_int CL_API_CALL kernels_of(cl_program p, cl_uint n, cl_kernel *out, cl_uint *n_ret)
{
    cl_uint made = 0;
    cl_int result = next_->clCreateKernelsInProgram(p, n, out, &made);
    if (n_ret) *n_ret = made;
    if (result == CL_SUCCESS && out) {
        add(KERNELS, made);
        for (cl_uint i = 0; i < made; i++) next_->clRetainProgram(p);
    }
    return result;
}
static cl_kernel CL_API_CALL kernel_of(cl_program p, const char *name, cl_int *err)
{
    cl_kernel made = next_->clCreateKernel(p, name, err);
    if (made) {
        add(KERNELS, 1);
        next_->clRetainProgram(p);
    }
    return made;
}
static cl_program program_of(cl_kernel k)
{
    cl_program p = NULL;
    next_->clGetKernelInfo(k, CL_KERNEL_PROGRAM, sizeof p, &p, NULL);
    return p;
}
static cl_kernel CL_API_CALL kernel_clone(cl_kernel k, cl_int *err)
{
    cl_kernel made = next_->clCloneKernel(k, err);
    if (made) next_->clRetainProgram(program_of(k));
    return made;
}
static cl_int CL_API_CALL release_kernel(cl_kernel k)
{
    cl_uint references = 0;
    next_->clGetKernelInfo(k, CL_KERNEL_REFERENCE_COUNT, sizeof references, &references, NULL);
    if (references != 1) return next_->clReleaseKernel(k);
    cl_program p = program_of(k);
    add(RELEASED_KERNELS, 1);
    cl_int result = next_->clReleaseKernel(k);
    if (p) release_program(p);
    return result;
}

void replace_program_functions(cl_icd_dispatch *mine)
{
    mine->clCreateProgramWithSource = program_source;
    mine->clCreateProgramWithBinary = program_binary;
    mine->clBuildProgram = build;
    mine->clReleaseProgram = release_program;
    mine->clCreateKernel = kernel_of;
    mine->clCreateKernelsInProgram = kernels_of;
    mine->clReleaseKernel = release_kernel;
    mine->clCloneKernel = kernel_clone;
}
