"""`python -m bench score`."""
