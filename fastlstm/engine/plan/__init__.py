"""Which kernel a call takes, and where everything lies for it."""
