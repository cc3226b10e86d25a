"""A call on threads."""
