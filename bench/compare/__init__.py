"""`python -m bench compare`: a module for each section of its result."""
