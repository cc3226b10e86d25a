"""What a caller hands over and gets back: arguments are checked once, and made readable."""
