"""Models from Keras: live ones, and files of Keras 1, 2 and 3."""

from fastlstm.formats.keras.loader import contents, from_keras, load

__all__ = ["contents", "from_keras", "load"]
