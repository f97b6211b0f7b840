"""What every process shares: the pure core, ports, settings, the ledger, the queue and the providers' adapters."""
