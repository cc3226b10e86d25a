"""What the commands share: workloads, engines, turns, stored results, tables."""
