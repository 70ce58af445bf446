"""What the index and the ledger on Elasticsearch share: the connection, bulk calls, the stored form of a record."""
