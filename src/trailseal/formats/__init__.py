"""One module per wire format: bytes -> Event."""
