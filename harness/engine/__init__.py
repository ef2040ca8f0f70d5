"""From suite to figures: plan, schedule, worker, measurement, check, record."""
