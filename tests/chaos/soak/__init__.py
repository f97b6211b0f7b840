"""Half an hour of steady, mixed work: memory, descriptors, threads and connections have to stay flat."""
