"""The pages beside the admin's own: logging in, one's own security, and the first run."""
