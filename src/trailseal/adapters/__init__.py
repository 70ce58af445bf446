"""Engines behind the ports. Only `trailseal.bootstrap` imports this package."""
