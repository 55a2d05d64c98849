"""A package, so that tests can import `tests.servers` whatever the import mode."""
