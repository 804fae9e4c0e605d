"""What one judged answer may use."""

from __future__ import annotations

from dataclasses import dataclass, fields

_KIBIBYTE = 1024
# Below this the interpreter itself does not fit.
_LEAST_MEMORY_BYTES = 64 * _KIBIBYTE**2


@dataclass(frozen=True)
class Limits:
    """Limits of one candidate, all its calls together; the tests of a trial have the same for themselves.

    Raises ValueError for a value that leaves no room to run.
    """

    wall_seconds: float = 5.0
    """From the moment the child is locked in to its last answer; starting it is not charged."""
    cpu_seconds: float = 5.0
    """Processor time, rounded up to a whole second by the kernel."""
    memory_bytes: int = 512 * _KIBIBYTE**2
    """Address space of the child, interpreter included. It has one process only, so this is the total."""
    file_bytes: int = 8 * _KIBIBYTE**2
    """All that the candidate may have in its temporary folder, and the largest single file."""
    processes: int = 32
    """Threads at the same time. A second process is refused whatever the number."""
    output_bytes: int = 1 * _KIBIBYTE**2
    """One answer, encoded (of tests at least 16 MiB). What is printed goes to /dev/null and costs nothing."""

    def __post_init__(self) -> None:
        for each in fields(self):
            least = _LEAST_MEMORY_BYTES if each.name == "memory_bytes" else 0
            value = getattr(self, each.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < 2**62 or not value:
                raise ValueError(
                    f"sandbox limits: {each.name} is {value!r}; it takes a number "
                    f"{f'of at least {least}' if least else 'above 0'}. Leave it out for {each.default!r}."
                )
