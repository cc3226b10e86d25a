"""What is compiled: loops over tiles, layers and cells."""
