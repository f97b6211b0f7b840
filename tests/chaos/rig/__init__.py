"""A cluster of real processes that a test can break: `cluster.py` first."""
