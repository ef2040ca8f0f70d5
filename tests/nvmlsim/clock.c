/* Three clocks: the machine's, one that each call pushes on, one that only the test moves. */
#include <time.h>

#include "sim.h"

static long long monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

double clock_now_s(void)
{
    if (machine.clock != CLOCK_REAL) return machine.set_s;
    if (machine.epoch_ns == 0) machine.epoch_ns = monotonic_ns();
    return (double)(monotonic_ns() - machine.epoch_ns) / 1e9;
}

void clock_wait_s(double seconds)
{
    if (seconds <= 0) return;
    if (machine.clock != CLOCK_REAL) {
        machine.set_s += seconds;
        return;
    }
    struct timespec wait = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&wait, NULL);
}

void clock_step(void)
{
    if (machine.clock == CLOCK_STEP) machine.set_s += machine.step_s;
}
