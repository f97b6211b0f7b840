"""A model of the protocol: the product's own code on simulated servers, clocks and faults.

Schedulers, workers and enqueuers run the real relay, sweeper, firing pass, intake, recorder, heartbeat and decisions.
PostgreSQL, Redis and time are simulated (`database.py`, `ledger.py`, `stores.py`, `redis.py`, `world.py`), so that a crash,
a stop, a lost answer or a Redis that forgets can happen between any two steps. `docs/why-it-holds.md` is the prose to it.
"""
