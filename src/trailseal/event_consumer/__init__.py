"""The Kafka consumer of the original: log -> decode -> validate -> project -> index -> ledger -> commit."""
