"""How much work a network is, in floating-point operations."""

# The activations of one hidden unit and step, beside 8 (I + H) for its sums.
ACTIVATION_WORK = 200
