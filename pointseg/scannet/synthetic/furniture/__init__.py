"""Furniture by family: each function draws one piece's dimensions and colours from `rng` and builds it as a `Group`."""
