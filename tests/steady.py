"""How property tests run: the same examples every time, so that CI does not fail by chance."""

from datetime import timedelta

from hypothesis import HealthCheck, settings

STEADY = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

FUZZ = settings(STEADY, max_examples=60, deadline=timedelta(seconds=30))
"""An example that takes this long hangs."""
