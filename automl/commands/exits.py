"""What the process says with its exit code."""

from __future__ import annotations

OK = 0
FAILED = 1  # a verification that does not hold; a search or a choice that found nothing
BAD_INPUT = 2
HELD = 3  # another live driver holds the study
INTERRUPTED = 130

EXIT_CODES = (
    "Exit codes: 0 done; 1 a verification failed, or nothing was found; 2 bad input (each fault on a line of standard "
    "error), or a database that cannot be used; 3 another process is driving the study; 130 interrupted."
)
