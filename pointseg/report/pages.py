"""The templates of all pages, and how numbers look in them."""

from __future__ import annotations

from pathlib import Path

import jinja2
import markupsafe

_TEMPLATES = Path(__file__).parent / "templates"


def page_environment() -> jinja2.Environment:
    """The templates, with the filters `percent` and `thousands` and the function `script(name)`."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=jinja2.select_autoescape(["html.jinja"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, thousands=thousands)
    # Not `include`: what looks like Jinja's braces in a script is the script's own.
    environment.globals["script"] = lambda name: markupsafe.Markup((_TEMPLATES / name).read_text(encoding="utf-8"))
    return environment


def percent(value: float | None, digits: int = 1) -> str:
    """0.8321 -> "83.2"; None -> "absent"."""
    return "absent" if value is None else f"{100 * value:.{digits}f}"


def thousands(value: int) -> str:
    """1234567 -> "1 234 567", with spaces that do not break."""
    return f"{value:,}".replace(",", "\u202f")
