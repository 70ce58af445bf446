"""Adapters of `trailseal.ports.ledger.Ledger`."""
