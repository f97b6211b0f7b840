"""How long recovery takes: the promised bounds, measured on real processes with default settings."""
