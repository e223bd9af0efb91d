"""Progress bars of long work, with the time that is left; on standard error."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def progress_bar(iterable: Iterable[Any] | None = None, *, shown: bool = True, **options: Any) -> tqdm:
    """tqdm's bar, as wide as the terminal; draws nothing unless `shown`, nor where TQDM_DISABLE=1 is set.

    A bar told `disable=False` would not heed that variable. `options` are tqdm's.
    """
    return tqdm(iterable, dynamic_ncols=True, **options, **({} if shown else {"disable": True}))
