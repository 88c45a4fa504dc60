"""Real registries, engines and faults, started for tests."""
