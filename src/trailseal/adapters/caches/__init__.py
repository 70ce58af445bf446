"""Adapters of `trailseal.ports.cache.QueryCache`."""
