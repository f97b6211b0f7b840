"""Redis: every key, the transport of wake-ups, notices, the shared rate limit."""
