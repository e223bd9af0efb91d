"""The one exception that means "the input is wrong", as opposed to "the program is wrong"."""

from __future__ import annotations


class InputError(Exception):
    """A mistake in what the user gave: a file, an option, a configuration key.

    The message is one line that names the argument or file, what was expected and what came. The command line prints
    it and exits with status 2; every other exception is a defect and keeps its traceback.
    """
