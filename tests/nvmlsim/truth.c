/* What is true, exactly, and what a sensor makes of it. The two are kept apart: an estimator is
 * judged by the truth and sees only the sensor. */
#include <math.h>

#include "sim.h"

double truth_value(const Trace *trace, double at_s)
{
    if (trace->count == 0) return 0;
    int last = -1;
    for (int i = 0; i < trace->count && trace->points[i].at_s <= at_s; i++) last = i;
    if (last < 0) return trace->points[0].value; /* before the script everything was as at its start */
    const Point *here = &trace->points[last];
    if (last + 1 == trace->count || !trace->points[last + 1].ramp) return here->value;
    const Point *next = &trace->points[last + 1];
    return here->value + (next->value - here->value) * (at_s - here->at_s) / (next->at_s - here->at_s);
}

/* Between two neighbouring points the signal is straight, so its mean is that of the ends. */
static double straight(const Trace *trace, double from_s, double until_s)
{
    double middle_s = (from_s + until_s) / 2;
    return truth_value(trace, middle_s) * (until_s - from_s);
}

double truth_integral(const Trace *trace, double from_s, double until_s)
{
    if (until_s < from_s) return -truth_integral(trace, until_s, from_s);
    double sum = 0, at_s = from_s;
    for (int i = 0; i < trace->count; i++) {
        double point_s = trace->points[i].at_s;
        if (point_s <= at_s) continue;
        if (point_s >= until_s) break;
        sum += straight(trace, at_s, point_s);
        at_s = point_s;
    }
    return sum + straight(trace, at_s, until_s);
}

/* When the sensor last looked. */
static double updated_s(const Model *model, double at_s)
{
    if (model->period_s <= 0) return at_s;
    return floor((at_s - model->phase_s) / model->period_s) * model->period_s + model->phase_s;
}

double sensor_mean(const Device *device, Sensor sensor, Signal signal, double at_s)
{
    const Model *model = &device->sensors[sensor];
    double end_s = updated_s(model, at_s);
    if (model->window_s <= 0) return model->gain * truth_value(&device->signals[signal], end_s);
    return model->gain
        * truth_integral(&device->signals[signal], end_s - model->window_s, end_s) / model->window_s;
}

double sensor_power_w(const Device *device, Sensor sensor, double at_s)
{
    return sensor_mean(device, sensor, POWER_W, at_s);
}

double sensor_energy_j(const Device *device, double at_s)
{
    const Model *model = &device->sensors[ENERGY];
    double end_s = updated_s(model, at_s), joules = 5000;  /* since "the driver was loaded" */
    joules += model->gain * truth_integral(&device->signals[POWER_W], 0, end_s);
    for (int i = 0; i < device->losses; i++)
        if (device->loss[i].at_s <= end_s) joules -= device->loss[i].joules;
    return model->resolution > 0 ? floor(joules / model->resolution) * model->resolution : joules;
}
