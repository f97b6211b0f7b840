"""All measures, in the order of the table."""

from tests.chaos.bounds import leaders, outages, workers

MEASURES = (*leaders.MEASURES, *workers.MEASURES, *outages.MEASURES)
