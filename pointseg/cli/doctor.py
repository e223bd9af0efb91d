"""`pointseg doctor`: what is installed."""

from __future__ import annotations


def doctor() -> None:
    """Say what is installed, what the compiled operators can do here, and what to mend."""
    from pointseg.doctor import examine

    print(examine())
