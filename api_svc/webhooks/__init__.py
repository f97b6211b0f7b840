"""What the providers tell us: verified, stored, answered, and only then applied, by a job."""
