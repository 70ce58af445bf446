"""Trailseal: an audit log that anyone can run and an outsider can check."""
