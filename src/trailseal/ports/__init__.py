"""The five contracts between the domain and the engines. They speak the domain, never SQL or JSON bodies."""
