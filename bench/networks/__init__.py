"""The command `networks`: kinds of network, beside other engines and beside plain networks."""
