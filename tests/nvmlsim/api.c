/* NVML's functions, as far as the harness calls them, over the simulated machine. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

#define MIB (1024ULL * 1024ULL)

/* What a handle points to: a device, or one of its MIG slices. */
struct nvmlDevice_st { int device, mig; };
static struct nvmlDevice_st handles[MAX_DEVICES][MAX_MIGS + 1];

struct nvmlGpmSample_st { bool taken; int device; double at_s; };

static int starts;
static char script_error[256];

/* ---- what tests call ---- */

/* Play this script from its zero; NULL, or what is wrong with it. */
const char *nvmlsim_load(const char *text)
{
    script_error[0] = 0;
    return script_load(text, script_error, sizeof script_error) ? NULL : script_error;
}

void nvmlsim_set_s(double seconds) { machine.set_s = seconds; }
double nvmlsim_now_s(void) { return clock_now_s(); }

/* The true energy of a device between two times. */
double nvmlsim_true_joules(int device, double from_s, double until_s)
{
    return truth_integral(&machine.device[device].signals[POWER_W], from_s, until_s);
}

/* Size of a struct as this library was compiled, to hold nvidia-ml-py's layout against; 0: unknown. */
unsigned nvmlsim_sizeof(const char *name)
{
    static const struct { const char *name; unsigned size; } SIZES[] = {
#define SIZE(type) {#type, sizeof(type)}
        SIZE(nvmlMemory_t), SIZE(nvmlMemory_v2_t), SIZE(nvmlUtilization_t), SIZE(nvmlFieldValue_t),
        SIZE(nvmlProcessInfo_v2_t), SIZE(nvmlPciInfo_t), SIZE(nvmlGpmMetric_t),
        SIZE(nvmlGpmMetricsGet_t), SIZE(nvmlGpmSupport_t), SIZE(nvmlValue_t),
#undef SIZE
    };
    for (size_t i = 0; i < sizeof SIZES / sizeof *SIZES; i++)
        if (!strcmp(SIZES[i].name, name)) return SIZES[i].size;
    return 0;
}

/* ---- what every call passes through ---- */

static nvmlReturn_t played(const Fault *fault, int count, const char *function, double at_s)
{
    nvmlReturn_t error = NVML_SUCCESS;
    for (int i = 0; i < count; i++) {
        const Fault *f = &fault[i];
        if (at_s < f->from_s || at_s >= f->until_s) continue;
        if (strcmp(f->function, "*") && strcmp(f->function, function)) continue;
        clock_wait_s(f->delay_s);
        if (f->error != NVML_SUCCESS) error = f->error;
    }
    return error;
}

static nvmlReturn_t enter_library(const char *function)
{
    clock_step();
    if (!starts) return NVML_ERROR_UNINITIALIZED;
    return played(machine.fault, machine.faults, function, clock_now_s());
}

static nvmlReturn_t enter(nvmlDevice_t handle, const char *function)
{
    nvmlReturn_t error = enter_library(function);
    if (error != NVML_SUCCESS) return error;
    if (!handle || handle < &handles[0][0] || handle > &handles[MAX_DEVICES - 1][MAX_MIGS]
        || !machine.device[handle->device].there)
        return NVML_ERROR_INVALID_ARGUMENT;
    const Device *d = &machine.device[handle->device];
    return played(d->fault, d->faults, function, clock_now_s());
}

#define LIBRARY() do { nvmlReturn_t e_ = enter_library(__func__); if (e_) return e_; } while (0)
#define DEVICE(handle) \
    do { nvmlReturn_t e_ = enter(handle, __func__); if (e_) return e_; } while (0); \
    const Device *d = &machine.device[(handle)->device]
/* A slice has no sensors of its own. */
#define WHOLE(handle) DEVICE(handle); if ((handle)->mig >= 0) return NVML_ERROR_NOT_SUPPORTED
#define NEED(pointer) if (!(pointer)) return NVML_ERROR_INVALID_ARGUMENT

static double now(const Device *d, Signal signal)
{
    return truth_value(&d->signals[signal], clock_now_s());
}

static nvmlReturn_t text(const char *from, char *into, unsigned length)
{
    NEED(into);
    if (strlen(from) + 1 > length) return NVML_ERROR_INSUFFICIENT_SIZE;
    strcpy(into, from);
    return NVML_SUCCESS;
}

/* ---- the library ---- */

static bool load_from_environment(void)
{
    const char *path = getenv("NVMLSIM_SCRIPT");
    FILE *file = path ? fopen(path, "r") : NULL;
    char content[65536];
    if (!file) {
        fprintf(stderr, "nvmlsim: NVMLSIM_SCRIPT names no script that can be read\n");
        return false;
    }
    size_t size = fread(content, 1, sizeof content - 1, file);
    fclose(file);
    content[size] = 0;
    const char *error = nvmlsim_load(content);
    if (error) fprintf(stderr, "nvmlsim: %s: %s\n", path, error);
    return !error;
}

nvmlReturn_t nvmlInitWithFlags(unsigned int flags)
{
    (void)flags;
    if (!machine.loaded && !load_from_environment()) return NVML_ERROR_UNKNOWN;
    nvmlReturn_t error = played(machine.fault, machine.faults, "nvmlInit", clock_now_s());
    if (error) return error;
    for (int i = 0; i < MAX_DEVICES; i++)
        for (int m = 0; m <= MAX_MIGS; m++) handles[i][m] = (struct nvmlDevice_st){i, m - 1};
    starts++;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

nvmlReturn_t nvmlShutdown(void)
{
    if (!starts) return NVML_ERROR_UNINITIALIZED;
    starts--;
    return NVML_SUCCESS;
}

const char *nvmlErrorString(nvmlReturn_t result)
{
    static char words[48];
    snprintf(words, sizeof words, "simulated error %d", (int)result);
    return words;
}

nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned int length)
{
    LIBRARY();
    return text(machine.driver, version, length);
}

nvmlReturn_t nvmlSystemGetNVMLVersion(char *version, unsigned int length)
{
    LIBRARY();
    return text("13." "nvmlsim", version, length);
}

nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int *version)
{
    LIBRARY();
    NEED(version);
    *version = 12080;
    return NVML_SUCCESS;
}

/* ---- devices ---- */

nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *count)
{
    LIBRARY();
    NEED(count);
    *count = 0;
    while (*count < MAX_DEVICES && machine.device[*count].there) (*count)++;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *device)
{
    LIBRARY();
    NEED(device);
    if (index >= MAX_DEVICES || !machine.device[index].there) return NVML_ERROR_INVALID_ARGUMENT;
    *device = &handles[index][0];
    return enter(*device, __func__);
}

nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *device)
{
    LIBRARY();
    NEED(uuid && device);
    for (int i = 0; i < MAX_DEVICES; i++) {
        const Device *d = &machine.device[i];
        if (!d->there) continue;
        if (!strcmp(d->uuid, uuid)) { *device = &handles[i][0]; return enter(*device, __func__); }
        for (int m = 0; m < d->migs; m++)
            if (!strcmp(d->mig[m].uuid, uuid)) {
                *device = &handles[i][m + 1];
                return enter(*device, __func__);
            }
    }
    return NVML_ERROR_NOT_FOUND;
}

nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char *uuid, unsigned int length)
{
    DEVICE(device);
    return text(device->mig < 0 ? d->uuid : d->mig[device->mig].uuid, uuid, length);
}

nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned int length)
{
    DEVICE(device);
    return text(d->name, name, length);
}

nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, nvmlPciInfo_t *pci)
{
    DEVICE(device);
    NEED(pci);
    memset(pci, 0, sizeof *pci);
    snprintf(pci->busId, sizeof pci->busId, "%s", d->bus);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t device, int *major, int *minor)
{
    DEVICE(device);
    NEED(major && minor);
    *major = (int)d->major;
    *minor = (int)d->minor;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetPersistenceMode(nvmlDevice_t device, nvmlEnableState_t *mode)
{
    WHOLE(device);
    NEED(mode);
    (void)d;
    *mode = NVML_FEATURE_ENABLED;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetEnforcedPowerLimit(nvmlDevice_t device, unsigned int *limit)
{
    WHOLE(device);
    NEED(limit);
    *limit = d->power_limit_w * 1000;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *memory)
{
    DEVICE(device);
    NEED(memory);
    memory->total = d->memory_mib * MIB;
    memory->used = (unsigned long long)(now(d, USED_MIB) * (double)MIB) + d->reserved_mib * MIB;
    memory->free = memory->total - memory->used;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *memory)
{
    DEVICE(device);
    NEED(memory);
    if (memory->version != nvmlMemory_v2) return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    bool slice = device->mig >= 0;
    unsigned total_mib = slice ? d->mig[device->mig].memory_mib : d->memory_mib;
    double used_mib = slice ? 0 : now(d, USED_MIB), at_s = clock_now_s();
    for (int i = 0; slice && i < d->processes; i++) {
        const Process *p = &d->process[i];
        if (p->mig == device->mig && p->from_s <= at_s && at_s < p->until_s) used_mib += p->mib;
    }
    memory->total = total_mib * MIB;
    memory->reserved = slice ? 0 : d->reserved_mib * MIB;
    memory->used = (unsigned long long)(used_mib * (double)MIB);
    memory->free = memory->total - memory->reserved - memory->used;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *utilization)
{
    WHOLE(device);
    NEED(utilization);
    if (d->migs) return NVML_ERROR_NOT_SUPPORTED;
    double at_s = clock_now_s();
    utilization->gpu = (unsigned)(sensor_mean(d, UTILIZATION, UTIL_PERCENT, at_s) + 0.5);
    utilization->memory = (unsigned)(sensor_mean(d, UTILIZATION, MEMORY_UTIL_PERCENT, at_s) + 0.5);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t device, nvmlClockType_t type, unsigned int *clock)
{
    WHOLE(device);
    NEED(clock);
    if (type != NVML_CLOCK_SM && type != NVML_CLOCK_MEM) return NVML_ERROR_NOT_SUPPORTED;
    *clock = (unsigned)now(d, type == NVML_CLOCK_SM ? SM_MHZ : MEMORY_MHZ);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMaxClockInfo(nvmlDevice_t device, nvmlClockType_t type, unsigned int *clock)
{
    WHOLE(device);
    NEED(clock);
    double most = 0;
    const Trace *trace = &d->signals[type == NVML_CLOCK_MEM ? MEMORY_MHZ : SM_MHZ];
    for (int i = 0; i < trace->count; i++)
        if (trace->points[i].value > most) most = trace->points[i].value;
    *clock = (unsigned)most;
    return NVML_SUCCESS;
}

static nvmlReturn_t reasons(const Device *d, unsigned long long *bits)
{
    NEED(bits);
    *bits = (unsigned long long)now(d, REASONS);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetCurrentClocksEventReasons(nvmlDevice_t device, unsigned long long *bits)
{
    WHOLE(device);
    return reasons(d, bits);
}

nvmlReturn_t nvmlDeviceGetCurrentClocksThrottleReasons(nvmlDevice_t device, unsigned long long *bits)
{
    WHOLE(device);
    return reasons(d, bits);
}

nvmlReturn_t nvmlDeviceGetPerformanceState(nvmlDevice_t device, nvmlPstates_t *state)
{
    WHOLE(device);
    NEED(state);
    *state = (nvmlPstates_t)now(d, PSTATE);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetTemperature(
    nvmlDevice_t device, nvmlTemperatureSensors_t sensor, unsigned int *celsius)
{
    WHOLE(device);
    NEED(celsius && sensor == NVML_TEMPERATURE_GPU);
    *celsius = (unsigned)now(d, TEMPERATURE_C);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t device, unsigned int *milliwatts)
{
    WHOLE(device);
    NEED(milliwatts);
    *milliwatts = (unsigned)(sensor_power_w(d, POWER_USAGE, clock_now_s()) * 1000 + 0.5);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t device, unsigned long long *millijoules)
{
    WHOLE(device);
    NEED(millijoules);
    *millijoules = (unsigned long long)(sensor_energy_j(d, clock_now_s()) * 1000 + 0.5);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetEccMode(
    nvmlDevice_t device, nvmlEnableState_t *current, nvmlEnableState_t *pending)
{
    WHOLE(device);
    NEED(current && pending);
    *current = *pending = d->ecc ? NVML_FEATURE_ENABLED : NVML_FEATURE_DISABLED;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetTotalEccErrors(
    nvmlDevice_t device, nvmlMemoryErrorType_t type, nvmlEccCounterType_t counter, unsigned long long *count)
{
    WHOLE(device);
    NEED(count);
    (void)counter;
    if (!d->ecc) return NVML_ERROR_NOT_SUPPORTED;
    *count = (unsigned long long)now(
        d, type == NVML_MEMORY_ERROR_TYPE_CORRECTED ? ECC_CORRECTED : ECC_UNCORRECTED);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetPcieThroughput(
    nvmlDevice_t device, nvmlPcieUtilCounter_t counter, unsigned int *value)
{
    WHOLE(device);
    NEED(value);
    clock_wait_s(0.020); /* as documented: it watches for 20 ms */
    *value = (unsigned)now(d, counter == NVML_PCIE_UTIL_TX_BYTES ? PCIE_TX_KB : PCIE_RX_KB);
    return NVML_SUCCESS;
}

static void fill_field(const Device *d, nvmlFieldValue_t *field, double at_s)
{
    char name[WORD];
    snprintf(name, sizeof name, "field:%u", field->fieldId);
    field->timestamp = (long long)(at_s * 1e6);
    field->latencyUsec = 0;
    field->nvmlReturn = played(d->fault, d->faults, name, at_s);
    if (field->nvmlReturn) return;
    switch (field->fieldId) {
    case NVML_FI_DEV_POWER_INSTANT:
    case NVML_FI_DEV_POWER_AVERAGE: {
        Sensor sensor = field->fieldId == NVML_FI_DEV_POWER_INSTANT ? POWER_INSTANT : POWER_AVERAGE;
        field->valueType = NVML_VALUE_TYPE_UNSIGNED_INT;
        field->value.uiVal = (unsigned)(sensor_power_w(d, sensor, at_s) * 1000 + 0.5);
        return;
    }
    case NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION:
        field->nvmlReturn
            = played(d->fault, d->faults, "nvmlDeviceGetTotalEnergyConsumption", at_s);
        field->valueType = NVML_VALUE_TYPE_UNSIGNED_LONG_LONG;
        field->value.ullVal = (unsigned long long)(sensor_energy_j(d, at_s) * 1000 + 0.5);
        return;
    case NVML_FI_DEV_MEMORY_TEMP:
        if (!d->signals[MEMORY_TEMPERATURE_C].count) break;
        field->valueType = NVML_VALUE_TYPE_UNSIGNED_INT;
        field->value.uiVal = (unsigned)now(d, MEMORY_TEMPERATURE_C);
        return;
    default: break;
    }
    field->nvmlReturn = NVML_ERROR_NOT_SUPPORTED;
}

nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t device, int count, nvmlFieldValue_t *values)
{
    WHOLE(device);
    NEED(values && count > 0);
    double at_s = clock_now_s(); /* one look for all of them */
    for (int i = 0; i < count; i++) fill_field(d, &values[i], at_s);
    return NVML_SUCCESS;
}

/* ---- MIG ---- */

nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t device, unsigned int *current, unsigned int *pending)
{
    WHOLE(device);
    NEED(current && pending);
    if (d->major < 8) return NVML_ERROR_NOT_SUPPORTED;
    *current = *pending = d->migs ? NVML_DEVICE_MIG_ENABLE : NVML_DEVICE_MIG_DISABLE;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t device, unsigned int *count)
{
    WHOLE(device);
    NEED(count);
    *count = d->migs ? MAX_MIGS : 0;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(
    nvmlDevice_t device, unsigned int index, nvmlDevice_t *slice)
{
    WHOLE(device);
    NEED(slice);
    if (index >= (unsigned)d->migs) return NVML_ERROR_NOT_FOUND;
    *slice = &handles[device->device][index + 1];
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetDeviceHandleFromMigDeviceHandle(nvmlDevice_t slice, nvmlDevice_t *device)
{
    DEVICE(slice);
    NEED(device);
    (void)d;
    if (slice->mig < 0) return NVML_ERROR_INVALID_ARGUMENT;
    *device = &handles[slice->device][0];
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetGpuInstanceId(nvmlDevice_t slice, unsigned int *id)
{
    DEVICE(slice);
    NEED(id);
    if (slice->mig < 0) return NVML_ERROR_NOT_SUPPORTED;
    *id = d->mig[slice->mig].gpu_instance;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetComputeInstanceId(nvmlDevice_t slice, unsigned int *id)
{
    DEVICE(slice);
    NEED(id);
    if (slice->mig < 0) return NVML_ERROR_NOT_SUPPORTED;
    *id = d->mig[slice->mig].compute_instance;
    return NVML_SUCCESS;
}

/* ---- processes ---- */

nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(
    nvmlDevice_t device, unsigned int *count, nvmlProcessInfo_t *infos)
{
    DEVICE(device);
    NEED(count);
    double at_s = clock_now_s();
    unsigned found = 0, room = infos ? *count : 0;
    for (int i = 0; i < d->processes; i++) {
        const Process *p = &d->process[i];
        if (at_s < p->from_s || at_s >= p->until_s) continue;
        if (device->mig >= 0 && p->mig != device->mig) continue;
        if (found < room) {
            bool slice = p->mig >= 0 && p->mig < d->migs;
            infos[found] = (nvmlProcessInfo_t){
                .pid = p->pid, .usedGpuMemory = p->mib * MIB,
                .gpuInstanceId = slice ? d->mig[p->mig].gpu_instance : 0xFFFFFFFF,
                .computeInstanceId = slice ? d->mig[p->mig].compute_instance : 0xFFFFFFFF,
            };
        }
        found++;
    }
    *count = found;
    return found > room ? NVML_ERROR_INSUFFICIENT_SIZE : NVML_SUCCESS;
}

/* ---- GPM ---- */

nvmlReturn_t nvmlGpmQueryDeviceSupport(nvmlDevice_t device, nvmlGpmSupport_t *support)
{
    DEVICE(device);
    NEED(support);
    if (support->version != NVML_GPM_SUPPORT_VERSION) return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    support->isSupportedDevice = d->gpm;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlGpmSampleAlloc(nvmlGpmSample_t *sample)
{
    LIBRARY();
    NEED(sample);
    *sample = calloc(1, sizeof **sample);
    return *sample ? NVML_SUCCESS : NVML_ERROR_MEMORY;
}

nvmlReturn_t nvmlGpmSampleFree(nvmlGpmSample_t sample)
{
    NEED(sample);
    free(sample);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlGpmSampleGet(nvmlDevice_t device, nvmlGpmSample_t sample)
{
    WHOLE(device);
    NEED(sample);
    if (!d->gpm) return NVML_ERROR_NOT_SUPPORTED;
    *sample = (struct nvmlGpmSample_st){true, device->device, clock_now_s()};
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlGpmMetricsGet(nvmlGpmMetricsGet_t *get)
{
    LIBRARY();
    NEED(get);
    if (get->version != NVML_GPM_METRICS_GET_VERSION) return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    NEED(get->sample1 && get->sample1->taken && get->sample2 && get->sample2->taken);
    const Device *d = &machine.device[get->sample1->device];
    double from_s = get->sample1->at_s, until_s = get->sample2->at_s;
    if (until_s - from_s < 0.1) return NVML_ERROR_NO_DATA; /* the counters refresh every 100 ms */
    for (unsigned i = 0; i < get->numMetrics; i++) {
        nvmlGpmMetric_t *metric = &get->metrics[i];
        Signal signal = SIGNALS;
        if (metric->metricId == NVML_GPM_METRIC_SM_UTIL) signal = UTIL_PERCENT;
        if (metric->metricId == NVML_GPM_METRIC_ANY_TENSOR_UTIL) signal = TENSOR_PERCENT;
        if (metric->metricId == NVML_GPM_METRIC_DRAM_BW_UTIL) signal = MEMORY_UTIL_PERCENT;
        metric->nvmlReturn = signal == SIGNALS ? NVML_ERROR_NOT_SUPPORTED : NVML_SUCCESS;
        if (signal == SIGNALS) continue;
        metric->value = truth_integral(&d->signals[signal], from_s, until_s) / (until_s - from_s);
    }
    return NVML_SUCCESS;
}
