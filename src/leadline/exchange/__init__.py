"""What the exchange says, as records. The only room that knows its field names."""
