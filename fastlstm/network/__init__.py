"""Networks as values: frozen, validated once, compared by content. Nothing here computes."""
