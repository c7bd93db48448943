"""What all lessons share and the library does not need."""

import os


def lesson_seed(number: int = 0) -> int:
    """Return the seed of a lesson, shifted by the environment variable `LESSON_SEED_SHIFT`.

    The tests run the lessons with several shifts: nothing that a lesson asserts may depend on it.
    """
    return number + int(os.environ.get("LESSON_SEED_SHIFT", "0"))


def shortened(number: int, least: int) -> int:
    """Return `number`, or `least` if the environment variable `LESSON_SHORT` is set.

    The tests set it, unless they are asked for complete runs (CONTRIBUTING.md).
    """
    return least if os.environ.get("LESSON_SHORT") else number


def repeats(number: int) -> int:
    """Return how often a time is measured: `number`, or once in tests, which assert nothing on it."""
    return 1 if os.environ.get("IN_TEST") else number
