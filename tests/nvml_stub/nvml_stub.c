/* A libnvidia-ml.so.1 that says what a text file says, so that the real pynvml can be tested.
 *
 * Written from the calls, structs and versions that nvidia-ml-py 13.615 makes; it is no NVML. The
 * file named by BURNMETER_NVML_STUB_STATE holds `key value` lines and may be replaced at any time:
 *
 *     gpus 2                    how many are listed             order 1 0       listed in this order
 *     driver 570.86.15          init 18                         what nvmlInit returns
 *     0.power 71000             NVML's own units; a reading that is absent is NOT_SUPPORTED
 *     0.compute 4242 1048576    a process, as many lines as there are; bytes `-`: not available
 *     0.compute 4242 100 3 0    the same on GPU instance 3, compute instance 0
 *     0.sm 1700 4242 60         at microsecond 1700 the process had 60 % of the SMs
 *     0.field.138 12345         a field value of 64 bits; `0.field.197 5 1`: of nvmlValueType_t 1
 *     0.gpm.2 61.5              a GPM metric between any two samples; `0.gi3.gpm.2` of GPU instance 3
 *     0.mig 7                   MIG is on, with at most 7 instances
 *     0.mig1.uuid MIG-b         MIG instance 1: uuid, name, gi, ci, slices, memory_used, memory_total
 *     0.error 15                what every call about GPU 0 returns
 *     0.error.NAME 999          what the function NAME returns for GPU 0; without `0.` for all
 *     hang NAME  segfault NAME  what the function NAME does; `hang NAME 3`: for GPU 3 alone
 *     delay NAME 4500           the function NAME takes so many microseconds
 *     xid 7 0 79                event number 7 (ever growing): GPU 0, code 79
 *
 * Each call is a line `NAME GPU` of the file named by BURNMETER_NVML_STUB_CALLS, if it is set.
 * With -DOLD_DRIVER the functions are missing that drivers before 510, 525 or 535 did not have.
 */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OK = 0, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7, NO_EVENT = 10 };
enum { MAX_GPUS = 64, MAX_MIGS = 8, XID_EVENTS = 8, NO_MIG = -1 };

typedef unsigned long long u64;
typedef struct { int number, mig; } gpu_t;
typedef struct { u64 total, free, used; } memory_t;
typedef struct { unsigned version; u64 total, reserved, free, used; } memory_v2_t;
typedef struct { unsigned gpu, memory; } utilization_t;
typedef struct { unsigned pid; u64 bytes; unsigned gpu_instance, compute_instance; } process_t;
typedef struct { gpu_t *gpu; u64 type, data; unsigned gpu_instance, compute_instance; } event_t;
typedef struct { unsigned pid; u64 time; unsigned sm, memory, encoder, decoder; } use_t;
typedef struct {
    unsigned field, scope;
    long long time, latency;
    unsigned type;
    int result;
    union { double d; unsigned ui; u64 ull; } value;
} field_t;
typedef struct { unsigned sms, copy, decode, encode, jpeg, ofa, slices, own_slices; u64 mib; } parts_t;
typedef struct { int gpu, instance, is_taken; } gpm_sample_t;
typedef struct { unsigned id; int result; double value; const char *names[3]; } gpm_metric_t;
typedef struct {
    unsigned version, count;
    gpm_sample_t *before, *after;
    gpm_metric_t metrics[];
} gpm_t;

static gpu_t gpus[MAX_GPUS], migs[MAX_GPUS][MAX_MIGS];
static char is_registered[MAX_GPUS];
static long last_event;
static char state[1 << 16];

static void load(void) {
    const char *path = getenv("BURNMETER_NVML_STUB_STATE");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t size = file < 0 ? 0 : read(file, state, sizeof state - 1);
    state[size > 0 ? size : 0] = 0;
    if (file >= 0) close(file);
}

/* The text after `key `, from `from` on (the whole state if NULL); NULL if it is not there. */
static const char *find(const char *key, const char *from) {
    size_t length = strlen(key);
    for (const char *line = from ? from : state; line && *line;) {
        if (!strncmp(line, key, length) && line[length] == ' ') return line + length + 1;
        line = strchr(line, '\n');
        if (line) line++;
    }
    return NULL;
}

static const char *find_for(int gpu, const char *key, const char *from) {
    char full[128];
    snprintf(full, sizeof full, "%d.%s", gpu, key);
    return find(full, from);
}

/* A key of a GPU, or of a MIG instance of it. */
static const char *find_of(gpu_t *gpu, const char *key) {
    char full[128];
    if (gpu->mig == NO_MIG) return find_for(gpu->number, key, NULL);
    snprintf(full, sizeof full, "mig%d.%s", gpu->mig, key);
    return find_for(gpu->number, full, NULL);
}

static int is_about(const char *what, const char *name, int gpu) {
    char function[96] = "";
    int number = gpu;
    const char *text = find(what, NULL);
    return text && sscanf(text, "%95s%*[ ]%d", function, &number) >= 1 && !strcmp(function, name) &&
           number == gpu;
}

/* What every function does first: log itself, hang, die, or return an error it was told. */
static int enter(const char *name, int gpu) {
    const char *path = getenv("BURNMETER_NVML_STUB_CALLS"), *text = NULL;
    char key[128];
    load();
    if (path) {
        int file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
        dprintf(file, "%s %d\n", name, gpu);
        close(file);
    }
    if (is_about("hang", name, gpu)) for (;;) pause();
    if (is_about("segfault", name, gpu)) *(volatile int *)8 = 1;
    for (const char *line = NULL; (line = find("delay", line));) {
        char function[96] = "";
        unsigned microseconds = 0;
        if (sscanf(line, "%95s %u", function, &microseconds) == 2 && !strcmp(function, name))
            usleep(microseconds);
    }
    snprintf(key, sizeof key, "error.%s", name);
    if (gpu >= 0) text = find_for(gpu, key, NULL);
    if (!text) text = find(key, NULL);
    if (!text && gpu >= 0) text = find_for(gpu, "error", NULL);
    return text ? atoi(text) : OK;
}

#define ENTER(gpu)                          \
    int entered = enter(__func__, (gpu));   \
    if (entered != OK) return entered

static int read_u64(gpu_t *gpu, const char *key, u64 *value) {
    const char *text = find_of(gpu, key);
    if (!text) return NOT_SUPPORTED;
    *value = strtoull(text, NULL, 10);
    return OK;
}

static int read_unsigned(gpu_t *gpu, const char *key, unsigned *value) {
    u64 wide;
    int result = read_u64(gpu, key, &wide);
    if (result == OK) *value = (unsigned)wide;
    return result;
}

static int read_text(const char *text, char *buffer, unsigned size) {
    size_t length = text ? strcspn(text, "\n") : 0;
    if (!text) return NOT_SUPPORTED;
    if (length >= size) return TOO_SMALL;
    memcpy(buffer, text, length);
    buffer[length] = 0;
    return OK;
}

int nvmlInitWithFlags(unsigned flags) {
    ENTER(-1);
    (void)flags;
    const char *text = find("init", NULL);
    for (int i = 0; i < MAX_GPUS; i++) {
        gpus[i] = (gpu_t){i, NO_MIG};
        for (int j = 0; j < MAX_MIGS; j++) migs[i][j] = (gpu_t){i, j};
    }
    return text ? atoi(text) : OK;
}

int nvmlShutdown(void) { return OK; }

const char *nvmlErrorString(int code) {
    static char text[32];
    snprintf(text, sizeof text, "stub error %d", code);
    return text;
}

int nvmlSystemGetDriverVersion(char *buffer, unsigned size) {
    ENTER(-1);
    return read_text(find("driver", NULL), buffer, size);
}

int nvmlDeviceGetCount_v2(unsigned *count) {
    ENTER(-1);
    const char *text = find("gpus", NULL);
    *count = text ? (unsigned)atoi(text) : 0;
    return OK;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, gpu_t **gpu) {
    int number = (int)index;
    load();
    const char *order = find("order", NULL);
    for (unsigned i = 0; order && i <= index; i++) number = (int)strtol(order, (char **)&order, 10);
    ENTER(number);
    if (number < 0 || number >= MAX_GPUS) return INVALID;
    *gpu = &gpus[number];
    return OK;
}

int nvmlDeviceGetName(gpu_t *gpu, char *buffer, unsigned size) {
    ENTER(gpu->number);
    return read_text(find_of(gpu, "name"), buffer, size);
}

int nvmlDeviceGetUUID(gpu_t *gpu, char *buffer, unsigned size) {
    ENTER(gpu->number);
    return read_text(find_of(gpu, "uuid"), buffer, size);
}

int nvmlDeviceGetUtilizationRates(gpu_t *gpu, utilization_t *rates) {
    ENTER(gpu->number);
    rates->memory = 0;
    return read_unsigned(gpu, "utilisation", &rates->gpu);
}

static int read_memory(gpu_t *gpu, u64 *used, u64 *total, u64 *reserved) {
    if (read_u64(gpu, "memory_reserved", reserved) != OK) *reserved = 0;
    return read_u64(gpu, "memory_used", used) || read_u64(gpu, "memory_total", total)
               ? NOT_SUPPORTED
               : OK;
}

/* Version 1 counts the reserve as used, as nvml.h says of nvmlMemory_t. */
int nvmlDeviceGetMemoryInfo(gpu_t *gpu, memory_t *memory) {
    ENTER(gpu->number);
    u64 reserved;
    int result = read_memory(gpu, &memory->used, &memory->total, &reserved);
    memory->used += reserved;
    memory->free = memory->total - memory->used;
    return result;
}

int nvmlDeviceGetPowerUsage(gpu_t *gpu, unsigned *milliwatts) {
    ENTER(gpu->number);
    return read_unsigned(gpu, "power", milliwatts);
}

int nvmlDeviceGetEnforcedPowerLimit(gpu_t *gpu, unsigned *milliwatts) {
    ENTER(gpu->number);
    return read_unsigned(gpu, "power_limit", milliwatts);
}

int nvmlDeviceGetTemperature(gpu_t *gpu, unsigned sensor, unsigned *celsius) {
    ENTER(gpu->number);
    return sensor == 0 ? read_unsigned(gpu, "temperature", celsius) : INVALID;
}

int nvmlDeviceGetClockInfo(gpu_t *gpu, unsigned type, unsigned *megahertz) {
    ENTER(gpu->number);
    if (type != 1 && type != 2) return INVALID;
    return read_unsigned(gpu, type == 1 ? "sm_clock" : "memory_clock", megahertz);
}

/* As NVML: with too small an array it says how many there are; every line `GPU.kind pid bytes`. */
static int list(int gpu, const char *kind, unsigned *count, process_t *out) {
    unsigned found = 0, room = *count;
    for (const char *text = NULL; (text = find_for(gpu, kind, text));) {
        char bytes[32] = "-";
        unsigned pid = 0, gi = ~0u, ci = ~0u;
        /* `0.compute none`: listed, empty */
        if (sscanf(text, "%u%*[ ]%31s%*[ ]%u%*[ ]%u", &pid, bytes, &gi, &ci) < 1) break;
        if (found < room && out)
            out[found] = (process_t){pid, *bytes == '-' ? ~0ull : strtoull(bytes, NULL, 10), gi, ci};
        found++;
    }
    *count = found;
    if (!found) return find_for(gpu, kind, NULL) ? OK : NOT_SUPPORTED;
    return found > room ? TOO_SMALL : OK;
}

int nvmlDeviceGetComputeRunningProcesses_v2(gpu_t *gpu, unsigned *count, process_t *out) {
    ENTER(gpu->number);
    return list(gpu->number, "compute", count, out);
}

int nvmlDeviceGetGraphicsRunningProcesses_v2(gpu_t *gpu, unsigned *count, process_t *out) {
    ENTER(gpu->number);
    return list(gpu->number, "graphics", count, out);
}

#ifndef OLD_DRIVER

int nvmlDeviceGetComputeRunningProcesses_v3(gpu_t *gpu, unsigned *count, process_t *out) {
    ENTER(gpu->number);
    return list(gpu->number, "compute", count, out);
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(gpu_t *gpu, unsigned *count, process_t *out) {
    ENTER(gpu->number);
    return list(gpu->number, "graphics", count, out);
}

int nvmlDeviceGetMemoryInfo_v2(gpu_t *gpu, memory_v2_t *memory) {
    ENTER(gpu->number);
    if (memory->version != (sizeof *memory | 2u << 24)) return 25;
    int result = read_memory(gpu, &memory->used, &memory->total, &memory->reserved);
    memory->free = memory->total - memory->used - memory->reserved;
    return result;
}

int nvmlDeviceGetTotalEnergyConsumption(gpu_t *gpu, u64 *millijoules) {
    ENTER(gpu->number);
    return read_u64(gpu, "energy", millijoules);
}

#endif

int nvmlDeviceGetMaxClockInfo(gpu_t *gpu, unsigned type, unsigned *megahertz) {
    ENTER(gpu->number);
    return read_unsigned(gpu, type == 1 ? "sm_clock_max" : "memory_clock_max", megahertz);
}

int nvmlDeviceGetMemoryBusWidth(gpu_t *gpu, unsigned *bits) {
    ENTER(gpu->number);
    return read_unsigned(gpu, "bus_width", bits);
}

int nvmlDeviceGetArchitecture(gpu_t *gpu, unsigned *architecture) {
    ENTER(gpu->number);
    return read_unsigned(gpu, "architecture", architecture);
}

int nvmlDeviceGetTemperatureThreshold(gpu_t *gpu, unsigned kind, unsigned *celsius) {
    ENTER(gpu->number);
    if (kind > 1) return INVALID;
    return read_unsigned(gpu, kind ? "slowdown_temperature" : "shutdown_temperature", celsius);
}

int nvmlDeviceGetPcieThroughput(gpu_t *gpu, unsigned counter, unsigned *kib_per_second) {
    ENTER(gpu->number);
    return read_unsigned(gpu, counter ? "pcie_received" : "pcie_sent", kib_per_second);
}

static int held_by(gpu_t *gpu, u64 *reasons) {
    return read_u64(gpu, "reasons", reasons);
}

/* The name of a driver before 535. */
int nvmlDeviceGetCurrentClocksThrottleReasons(gpu_t *gpu, u64 *reasons) {
    ENTER(gpu->number);
    return held_by(gpu, reasons);
}

#ifndef OLD_DRIVER

int nvmlDeviceGetCurrentClocksEventReasons(gpu_t *gpu, u64 *reasons) {
    ENTER(gpu->number);
    return held_by(gpu, reasons);
}

/* Each value has a result of its own; those without a line are NOT_SUPPORTED. */
int nvmlDeviceGetFieldValues(gpu_t *gpu, int count, field_t *fields) {
    ENTER(gpu->number);
    for (int i = 0; i < count; i++) {
        char key[32];
        unsigned type = 3;
        u64 value = 0;
        snprintf(key, sizeof key, "field.%u", fields[i].field);
        const char *text = find_of(gpu, key);
        fields[i].result = text ? OK : NOT_SUPPORTED;
        if (!text) continue;
        sscanf(text, "%llu%*[ ]%u", &value, &type);
        fields[i].type = type;
        fields[i].value.ull = 0;
        if (type == 1) fields[i].value.ui = (unsigned)value;
        else if (type == 0) fields[i].value.d = (double)value;
        else fields[i].value.ull = value;
    }
    return OK;
}

#endif

/* As NVML: samples newer than `after`; NOT_FOUND if there are none, and with no room their number. */
int nvmlDeviceGetProcessUtilization(gpu_t *gpu, use_t *out, unsigned *count, u64 after) {
    ENTER(gpu->number);
    unsigned found = 0, room = *count;
    if (!find_of(gpu, "sm")) return NOT_SUPPORTED;
    for (const char *text = NULL; (text = find_for(gpu->number, "sm", text));) {
        u64 time = 0;
        unsigned pid = 0, percent = 0;
        if (sscanf(text, "%llu %u %u", &time, &pid, &percent) != 3 || time <= after) continue;
        if (found < room && out) out[found] = (use_t){pid, time, percent, 0, 0, 0};
        found++;
    }
    *count = found;
    if (!found) return NOT_FOUND;
    return found > room ? TOO_SMALL : OK;
}

int nvmlDeviceGetMigMode(gpu_t *gpu, unsigned *now, unsigned *pending) {
    ENTER(gpu->number);
    if (!find_of(gpu, "mig")) return NOT_SUPPORTED;
    read_unsigned(gpu, "mig", now);
    *now = *pending = *now > 0;
    return OK;
}

int nvmlDeviceGetMaxMigDeviceCount(gpu_t *gpu, unsigned *count) {
    ENTER(gpu->number);
    return read_unsigned(gpu, "mig", count);
}

int nvmlDeviceGetMigDeviceHandleByIndex(gpu_t *gpu, unsigned index, gpu_t **mig) {
    ENTER(gpu->number);
    if (index >= MAX_MIGS) return INVALID;
    *mig = &migs[gpu->number][index];
    return find_of(*mig, "uuid") ? OK : NOT_FOUND;
}

int nvmlDeviceGetGpuInstanceId(gpu_t *mig, unsigned *id) {
    ENTER(mig->number);
    return read_unsigned(mig, "gi", id);
}

int nvmlDeviceGetComputeInstanceId(gpu_t *mig, unsigned *id) {
    ENTER(mig->number);
    return read_unsigned(mig, "ci", id);
}

int nvmlDeviceGetAttributes_v2(gpu_t *mig, parts_t *parts) {
    ENTER(mig->number);
    memset(parts, 0, sizeof *parts);
    return read_unsigned(mig, "slices", &parts->own_slices);
}

#ifndef OLD_DRIVER

int nvmlGpmQueryDeviceSupport(gpu_t *gpu, unsigned *support) {
    ENTER(gpu->number);
    if (support[0] != 1) return 25;
    return read_unsigned(gpu, "gpm", &support[1]) == OK ? OK : (support[1] = 0, OK);
}

int nvmlGpmSampleAlloc(gpm_sample_t **sample) {
    ENTER(-1);
    *sample = calloc(1, sizeof **sample);
    return OK;
}

int nvmlGpmSampleFree(gpm_sample_t *sample) {
    ENTER(-1);
    free(sample);
    return OK;
}

/* Of a GPU that is divided there are only samples of its instances. */
int nvmlGpmSampleGet(gpu_t *gpu, gpm_sample_t *sample) {
    ENTER(gpu->number);
    unsigned divided = 0;
    if (read_unsigned(gpu, "mig", &divided) == OK && divided) return NOT_SUPPORTED;
    *sample = (gpm_sample_t){gpu->number, -1, 1};
    return OK;
}

int nvmlGpmMigSampleGet(gpu_t *gpu, unsigned instance, gpm_sample_t *sample) {
    ENTER(gpu->number);
    *sample = (gpm_sample_t){gpu->number, (int)instance, 1};
    return OK;
}

int nvmlGpmMetricsGet(gpm_t *asked) {
    gpm_sample_t *one = asked->before, *other = asked->after;
    ENTER(other->gpu);
    if (asked->version != 1 || one == other || !one->is_taken || !other->is_taken) return INVALID;
    for (unsigned i = 0; i < asked->count; i++) {
        char key[48];
        if (other->instance < 0) snprintf(key, sizeof key, "gpm.%u", asked->metrics[i].id);
        else snprintf(key, sizeof key, "gi%d.gpm.%u", other->instance, asked->metrics[i].id);
        const char *text = find_for(other->gpu, key, NULL);
        asked->metrics[i].result = text ? OK : NOT_SUPPORTED;
        if (text) asked->metrics[i].value = strtod(text, NULL);
    }
    return OK;
}

#endif

/* The event after number `after`: its number, or 0. */
static long next_event(long after, int *gpu, unsigned *code) {
    for (const char *text = NULL; (text = find("xid", text));) {
        long number = 0;
        if (sscanf(text, "%ld %d %u", &number, gpu, code) == 3 && number > after) return number;
    }
    return 0;
}

int nvmlEventSetCreate(void **set) {
    ENTER(-1);
    int gpu;
    unsigned code;
    for (long next = 0; (next = next_event(last_event, &gpu, &code));) last_event = next;
    *set = &last_event; /* What happened before nobody had asked for. */
    return OK;
}

int nvmlDeviceGetSupportedEventTypes(gpu_t *gpu, u64 *types) {
    ENTER(gpu->number);
    *types = XID_EVENTS | 1;
    return OK;
}

int nvmlDeviceRegisterEvents(gpu_t *gpu, u64 types, void *set) {
    ENTER(gpu->number);
    is_registered[gpu->number] = set == &last_event && types == XID_EVENTS;
    return OK;
}

int nvmlEventSetWait_v2(void *set, event_t *event, unsigned timeout_ms) {
    ENTER(-1);
    int gpu = 0;
    unsigned code = 0;
    if (set != &last_event || timeout_ms != 0) return INVALID;
    for (long next; (next = next_event(last_event, &gpu, &code));) {
        last_event = next;
        if (!is_registered[gpu]) continue;
        *event = (event_t){&gpus[gpu], XID_EVENTS, code, ~0u, ~0u};
        return OK;
    }
    return NO_EVENT;
}
