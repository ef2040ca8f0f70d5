/* The script's text to a machine: one statement a line, words apart by blanks, # to the line's end.
 * README.md beside this file is the reference. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

Machine machine;

const char *const SIGNAL_NAMES[SIGNALS] = {
    "power", "util", "memutil", "used", "sm", "mem", "temp", "memtemp", "reasons", "ecc", "eccfatal",
    "pcietx", "pcierx", "tensor", "pstate",
};
const char *const SENSOR_NAMES[SENSORS] = {
    "power.usage", "power.instant", "power.average", "energy", "util",
};

static const struct { const char *name; nvmlReturn_t code; } ERRORS[] = {
    {"not_supported", NVML_ERROR_NOT_SUPPORTED}, {"no_permission", NVML_ERROR_NO_PERMISSION},
    {"function_not_found", NVML_ERROR_FUNCTION_NOT_FOUND}, {"gpu_is_lost", NVML_ERROR_GPU_IS_LOST},
    {"driver_not_loaded", NVML_ERROR_DRIVER_NOT_LOADED}, {"reset_required", NVML_ERROR_RESET_REQUIRED},
    {"lib_rm_version_mismatch", NVML_ERROR_LIB_RM_VERSION_MISMATCH}, {"unknown", NVML_ERROR_UNKNOWN},
    {"argument_version_mismatch", NVML_ERROR_ARGUMENT_VERSION_MISMATCH},
    {"invalid_argument", NVML_ERROR_INVALID_ARGUMENT}, {"timeout", NVML_ERROR_TIMEOUT},
    {"no_data", NVML_ERROR_NO_DATA}, {"gpu_not_found", NVML_ERROR_GPU_NOT_FOUND},
    {"ok", NVML_SUCCESS},
};

typedef struct { int count; char *word[64]; const char *wrong; } Line;

static const char *wrong(Line *line, const char *what)
{
    if (!line->wrong) line->wrong = what;
    return line->wrong;
}

static double number(Line *line, const char *text)
{
    char *end;
    double value = strncmp(text, "0x", 2) ? strtod(text, &end) : (double)strtoull(text, &end, 16);
    if (end == text || *end || !isfinite(value)) wrong(line, "a number was expected");
    return value;
}

static double until(Line *line, const char *text)
{
    return strcmp(text, "-") ? number(line, text) : INFINITY;
}

/* The value of key=value, or NULL where that key is not on the line. */
static const char *given(Line *line, int from, const char *key)
{
    size_t length = strlen(key);
    for (int i = from; i < line->count; i++)
        if (!strncmp(line->word[i], key, length) && line->word[i][length] == '=')
            return line->word[i] + length + 1;
    return NULL;
}

static double given_number(Line *line, int from, const char *key, double otherwise)
{
    const char *text = given(line, from, key);
    return text ? number(line, text) : otherwise;
}

static void given_text(Line *line, int from, const char *key, char *into, size_t size)
{
    const char *text = given(line, from, key);
    if (!text) return;
    snprintf(into, size, "%s", text);
    for (char *c = into; *c; c++) if (*c == '_') *c = ' '; /* a name's blanks */
}

static Device *device_of(Line *line, bool make)
{
    int index = line->count > 1 ? (int)number(line, line->word[1]) : -1;
    if (index < 0 || index >= MAX_DEVICES || (!make && !machine.device[index].there)) {
        wrong(line, "no such device");
        return &machine.device[MAX_DEVICES - 1];
    }
    return &machine.device[index];
}

static void add_device(Line *line)
{
    Device *d = device_of(line, true);
    int index = (int)(d - machine.device);
    d->there = true;
    snprintf(d->uuid, sizeof d->uuid, "GPU-00000000-0000-0000-0000-%012d", index);
    snprintf(d->name, sizeof d->name, "Simulated GPU");
    snprintf(d->bus, sizeof d->bus, "00000000:%02X:00.0", index + 1);
    given_text(line, 2, "uuid", d->uuid, sizeof d->uuid);
    given_text(line, 2, "name", d->name, sizeof d->name);
    given_text(line, 2, "bus", d->bus, sizeof d->bus);
    d->memory_mib = (unsigned)given_number(line, 2, "memory_mib", 40960);
    d->reserved_mib = (unsigned)given_number(line, 2, "reserved_mib", 500);
    d->major = (unsigned)given_number(line, 2, "major", 8);
    d->minor = (unsigned)given_number(line, 2, "minor", 0);
    d->power_limit_w = (unsigned)given_number(line, 2, "power_limit", 400);
    d->ecc = given_number(line, 2, "ecc", 1) != 0;
    d->gpm = given_number(line, 2, "gpm", 0) != 0;
    for (int s = 0; s < SENSORS; s++) d->sensors[s] = (Model){.gain = 1};
    d->sensors[ENERGY].resolution = 0.001;
}

static void add_points(Line *line, bool ramp)
{
    Device *d = device_of(line, false);
    if (line->count < 4) { wrong(line, "DEVICE SECONDS signal=value were expected"); return; }
    double at_s = number(line, line->word[2]);
    for (int i = 3; i < line->count; i++) {
        char *sign = strchr(line->word[i], '=');
        int signal = 0;
        if (sign) *sign = 0;
        while (signal < SIGNALS && strcmp(SIGNAL_NAMES[signal], line->word[i])) signal++;
        if (!sign || signal == SIGNALS) { wrong(line, "unknown signal"); return; }
        Trace *trace = &d->signals[signal];
        if (trace->count == MAX_POINTS) { wrong(line, "too many points"); return; }
        if (trace->count && trace->points[trace->count - 1].at_s > at_s) wrong(line, "time runs back");
        bool straight = ramp && trace->count && trace->points[trace->count - 1].at_s < at_s;
        trace->points[trace->count++] = (Point){at_s, number(line, sign + 1), straight};
    }
}

static void set_sensor(Line *line)
{
    Device *d = device_of(line, false);
    int s = 0;
    while (line->count > 2 && s < SENSORS && strcmp(SENSOR_NAMES[s], line->word[2])) s++;
    if (line->count < 3 || s == SENSORS) { wrong(line, "unknown sensor"); return; }
    Model *m = &d->sensors[s];
    m->period_s = given_number(line, 3, "period", m->period_s * 1e3) / 1e3;
    m->window_s = given_number(line, 3, "window", m->window_s * 1e3) / 1e3;
    m->phase_s = given_number(line, 3, "phase", m->phase_s * 1e3) / 1e3;
    m->gain = given_number(line, 3, "gain", m->gain);
    m->resolution = given_number(line, 3, "resolution", m->resolution);
}

/* fault DEVICE|* FUNCTION ERROR FROM UNTIL; slow DEVICE|* FUNCTION MILLISECONDS FROM UNTIL */
static void add_fault(Line *line, bool slow)
{
    if (line->count != 6) { wrong(line, "DEVICE FUNCTION WHAT FROM UNTIL were expected"); return; }
    bool library = !strcmp(line->word[1], "*");
    Device *d = library ? NULL : device_of(line, false);
    int *count = library ? &machine.faults : &d->faults;
    Fault *fault = library ? machine.fault : d->fault;
    if (*count == MAX_EVENTS) { wrong(line, "too many faults"); return; }
    Fault *f = &fault[(*count)++];
    snprintf(f->function, sizeof f->function, "%s", line->word[2]);
    f->from_s = number(line, line->word[4]);
    f->until_s = until(line, line->word[5]);
    if (slow) { f->delay_s = number(line, line->word[3]) / 1e3; return; }
    for (size_t i = 0; i < sizeof ERRORS / sizeof *ERRORS; i++)
        if (!strcmp(ERRORS[i].name, line->word[3])) { f->error = ERRORS[i].code; return; }
    wrong(line, "unknown error");
}

static void add_process(Line *line)
{
    Device *d = device_of(line, false);
    if (line->count < 4 || d->processes == MAX_EVENTS) { wrong(line, "DEVICE FROM UNTIL pid= mib="); return; }
    d->process[d->processes++] = (Process){
        .from_s = number(line, line->word[2]), .until_s = until(line, line->word[3]),
        .pid = (unsigned)given_number(line, 4, "pid", 1),
        .mib = (unsigned)given_number(line, 4, "mib", 0),
        .mig = (int)given_number(line, 4, "mig", -1),
    };
}

static void add_mig(Line *line)
{
    Device *d = device_of(line, false);
    if (d->migs == MAX_MIGS) { wrong(line, "too many slices"); return; }
    Mig *m = &d->mig[d->migs];
    snprintf(m->uuid, sizeof m->uuid, "MIG-00000000-0000-0000-0000-%012d", d->migs);
    given_text(line, 2, "uuid", m->uuid, sizeof m->uuid);
    m->memory_mib = (unsigned)given_number(line, 2, "memory_mib", 4864);
    m->gpu_instance = (unsigned)given_number(line, 2, "gi", d->migs + 1);
    m->compute_instance = (unsigned)given_number(line, 2, "ci", 0);
    d->migs++;
}

static void set_clock(Line *line)
{
    const char *kind = line->count > 1 ? line->word[1] : "";
    if (!strcmp(kind, "set")) machine.clock = CLOCK_SET;
    else if (!strcmp(kind, "step") && line->count > 2) {
        machine.clock = CLOCK_STEP;
        machine.step_s = number(line, line->word[2]) / 1e3;
    } else if (!strcmp(kind, "monotonic")) {
        machine.clock = CLOCK_REAL;
        if (line->count > 2) machine.epoch_ns = strtoll(line->word[2], NULL, 10);
    } else wrong(line, "monotonic [EPOCH_NS], step MS or set were expected");
}

static void statement(Line *line)
{
    const char *verb = line->word[0];
    if (!strcmp(verb, "device")) add_device(line);
    else if (!strcmp(verb, "at")) add_points(line, false);
    else if (!strcmp(verb, "to")) add_points(line, true);
    else if (!strcmp(verb, "sensor")) set_sensor(line);
    else if (!strcmp(verb, "fault")) add_fault(line, false);
    else if (!strcmp(verb, "slow")) add_fault(line, true);
    else if (!strcmp(verb, "process")) add_process(line);
    else if (!strcmp(verb, "mig")) add_mig(line);
    else if (!strcmp(verb, "clock")) set_clock(line);
    else if (!strcmp(verb, "driver") && line->count == 2)
        snprintf(machine.driver, sizeof machine.driver, "%.60s-nvmlsim", line->word[1]);
    else if (!strcmp(verb, "backward") && line->count == 4) {
        Device *d = device_of(line, false);
        if (d->losses == MAX_EVENTS) { wrong(line, "too many losses"); return; }
        d->loss[d->losses++] = (Loss){number(line, line->word[2]), number(line, line->word[3])};
    } else wrong(line, "unknown statement");
}

bool script_load(const char *text, char *error, size_t size)
{
    memset(&machine, 0, sizeof machine);
    snprintf(machine.driver, sizeof machine.driver, "570.00-nvmlsim");
    char *copy = strdup(text), *rest = copy, *row;
    for (int n = 1; (row = strsep(&rest, "\n")); n++) {
        Line line = {0};
        char *hash = strchr(row, '#'), *place = NULL;
        if (hash) *hash = 0;
        for (char *w = strtok_r(row, " \t\r", &place); w && line.count < 64; w = strtok_r(NULL, " \t\r", &place))
            line.word[line.count++] = w;
        if (line.count) statement(&line);
        if (line.wrong) {
            snprintf(error, size, "line %d (%s): %s", n, line.word[0], line.wrong);
            free(copy);
            return false;
        }
    }
    free(copy);
    machine.loaded = true;
    return true;
}
