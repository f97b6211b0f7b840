"""How fast it is, against its peers and against its own limits: `python -m benchmarks NAME`, one module a question."""
