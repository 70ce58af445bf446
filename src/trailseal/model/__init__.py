"""The domain: frozen data and pure functions, no I/O."""
