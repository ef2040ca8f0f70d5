/* The simulated machine: devices with signals whose truth is known, and the sensors that look at it. */
#ifndef NVMLSIM_H
#define NVMLSIM_H

#include <stdbool.h>
#include <stddef.h>

#define NVML_NO_UNVERSIONED_FUNC_DEFS
#include <nvml.h>

enum { MAX_DEVICES = 8, MAX_MIGS = 7, MAX_POINTS = 512, MAX_EVENTS = 64, WORD = 96 };

/* Signals: what is true, piecewise constant or straight. Keep in step with SIGNAL_NAMES. */
typedef enum {
    POWER_W, UTIL_PERCENT, MEMORY_UTIL_PERCENT, USED_MIB, SM_MHZ, MEMORY_MHZ, TEMPERATURE_C,
    MEMORY_TEMPERATURE_C, REASONS, ECC_CORRECTED, ECC_UNCORRECTED, PCIE_TX_KB, PCIE_RX_KB,
    TENSOR_PERCENT, PSTATE, SIGNALS
} Signal;
extern const char *const SIGNAL_NAMES[SIGNALS];

/* Sensors: how a signal is seen. Keep in step with SENSOR_NAMES. */
typedef enum { POWER_USAGE, POWER_INSTANT, POWER_AVERAGE, ENERGY, UTILIZATION, SENSORS } Sensor;
extern const char *const SENSOR_NAMES[SENSORS];

typedef struct { double at_s, value; bool ramp; } Point; /* ramp: a straight line leads here */
typedef struct { int count; Point points[MAX_POINTS]; } Trace;
typedef struct { double period_s, window_s, phase_s, gain, resolution; } Model;

typedef struct {
    char function[WORD]; /* "*", a function's name, or "field:186" */
    double from_s, until_s, delay_s;
    nvmlReturn_t error;
} Fault;

typedef struct { double from_s, until_s; unsigned pid, mib; int mig; } Process;
typedef struct { double at_s, joules; } Loss; /* the energy counter falls back by so much */
typedef struct { char uuid[WORD]; unsigned memory_mib, gpu_instance, compute_instance; } Mig;

typedef struct {
    bool there;
    char uuid[WORD], name[WORD], bus[32];
    unsigned memory_mib, reserved_mib, major, minor, power_limit_w;
    bool ecc, gpm;
    Trace signals[SIGNALS];
    Model sensors[SENSORS];
    int faults, processes, losses, migs;
    Fault fault[MAX_EVENTS];
    Process process[MAX_EVENTS];
    Loss loss[MAX_EVENTS];
    Mig mig[MAX_MIGS];
} Device;

typedef enum { CLOCK_REAL, CLOCK_STEP, CLOCK_SET } ClockKind;

typedef struct {
    bool loaded;
    char driver[WORD];
    ClockKind clock;
    double step_s, set_s;
    long long epoch_ns;
    int faults; /* of the library itself: nvmlInit and the like */
    Fault fault[MAX_EVENTS];
    Device device[MAX_DEVICES];
} Machine;

extern Machine machine;

/* script.c: text to machine; false and a message where the text is wrong. */
bool script_load(const char *text, char *error, size_t size);

/* truth.c */
double truth_value(const Trace *trace, double at_s);
double truth_integral(const Trace *trace, double from_s, double until_s);
double sensor_power_w(const Device *device, Sensor sensor, double at_s);
double sensor_mean(const Device *device, Sensor sensor, Signal signal, double at_s);
double sensor_energy_j(const Device *device, double at_s);

/* clock.c: seconds since the script's zero. */
double clock_now_s(void);
void clock_wait_s(double seconds);
void clock_step(void);

#endif
