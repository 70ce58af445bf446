"""Adapters of `trailseal.ports.index.EventIndex`."""
