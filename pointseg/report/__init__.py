"""A run directory to Markdown and HTML."""
