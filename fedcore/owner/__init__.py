"""An owner's host: its agent decides and releases, its workers compute. No Django."""
