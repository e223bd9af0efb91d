"""`pointseg COMMAND`: one file a command; each parses, calls, prints. What the commands do is in the modules they call.

Modules are imported inside the commands: `pointseg --help` answers before PyTorch would have been loaded.
"""

from __future__ import annotations

from pointseg.cli.commands import main

__all__ = ["main"]
