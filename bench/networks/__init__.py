"""`python -m bench networks`."""
