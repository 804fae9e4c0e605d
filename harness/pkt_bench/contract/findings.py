"""What a check of a method found: a standing for each promise, in words that say what to do."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Standing = Literal["kept", "broken", "remark", "untried"]
"""`remark`: no promise is broken, and its author should know; `untried`: nothing could be said, and why."""


def counted(count: int, noun: str) -> str:
    """`1 pair`, `2 pairs`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


@dataclass(frozen=True)
class Finding:
    """One promise: whether it is kept, what was seen, and what to do where it is not."""

    promise: str
    standing: Standing
    seen: str
    advice: str = ""


@dataclass(frozen=True)
class Report:
    """All that was found of one method."""

    method: str
    distribution: str
    version: str
    findings: tuple[Finding, ...]
    seconds: float

    @property
    def broken(self) -> tuple[Finding, ...]:
        """The promises that are not kept."""
        return tuple(finding for finding in self.findings if finding.standing == "broken")

    @property
    def keeps(self) -> bool:
        """Whether nothing was found broken."""
        return not self.broken

    def as_json(self) -> dict[str, Any]:
        """The report as plain JSON."""
        return {**asdict(self), "keeps": self.keeps}

    def __str__(self) -> str:
        lines = [f"{self.method} ({self.distribution} {self.version})"]
        for each in self.findings:
            lines.append(f"  {each.standing:<8} {each.promise}: {each.seen}".replace("\n", "\n             "))
            if each.advice:
                lines.append(f"             {each.advice}".replace("\n", "\n             "))
        return "\n".join(lines)
