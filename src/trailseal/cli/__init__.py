"""The command `trailseal`."""
