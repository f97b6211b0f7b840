"""The fault matrix on real processes: see README.md."""
