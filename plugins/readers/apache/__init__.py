"""Apache access logs."""
