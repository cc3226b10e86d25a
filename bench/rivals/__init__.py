"""The other engines, each in the configuration that was fastest here. Imported only when built."""
