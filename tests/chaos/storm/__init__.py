"""A storm: everything goes wrong at random, from a seed, while work of every kind comes in. Then calm, and an auditor over all of it.

make storm MINUTES=10 SEED=3
python -m tests.chaos.storm --minutes 10 --seed 3 --plan     # what will happen when, without doing it
"""
