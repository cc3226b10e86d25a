"""What a caller hands over and gets back: checked once, and made readable for the engine."""
