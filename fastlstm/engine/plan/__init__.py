"""Which kernels a call uses, and the layout of their memory."""
