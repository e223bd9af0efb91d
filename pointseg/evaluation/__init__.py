"""Scoring: networks on whole scenes, counts to scores."""
