"""The showcase: a whole stack, a month of billing in a minute, a leader and a worker killed in the middle, and an audit."""
