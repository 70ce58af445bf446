"""Adapters of `trailseal.ports.log.EventLog`."""
