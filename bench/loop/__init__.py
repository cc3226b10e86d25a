"""`python -m bench loop`: a module for each section of its result."""
