"""A task for other processes, in a module that these import at once."""

import os


def deadly(number):
    """In a process: ends it by a signal for numbers below 0."""
    if number < 0:
        os.kill(os.getpid(), -number)
    return str(number)
