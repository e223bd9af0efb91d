"""The paper's comparison run from one command."""
