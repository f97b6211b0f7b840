"""`/v1`: what applications call, behind a bearer token."""
