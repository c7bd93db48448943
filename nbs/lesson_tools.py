"""What all lessons share and the library does not need."""

import os


def lesson_seed(number: int = 0) -> int:
    """Return the seed of a lesson, shifted by the environment variable `LESSON_SEED_SHIFT`.

    The tests run the lessons with several shifts: nothing that a lesson asserts may depend on it.
    """
    return number + int(os.environ.get("LESSON_SEED_SHIFT", "0"))
