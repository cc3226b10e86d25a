"""Models from Keras: live ones, and files of Keras 1, 2 and 3."""
