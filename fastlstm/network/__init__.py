"""What a network is: frozen values, validated once, compared by content. Nothing here computes."""
