"""Pure rooms: given time and data, they return decisions and records. No I/O, no clock, no logging."""
