"""The SDK that applications use to send events."""
