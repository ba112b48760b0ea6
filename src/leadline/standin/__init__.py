"""A Binance spot market on loopback: the built-in source of the try-out, and the test bed for what the exchange seldom does.

Nothing is shared with the adapter or the book: encoding here, decoding there, so that a common bug cannot hide.

source.py   what the server asks of a source; the records that both sources give out
replay.py   a source from recorded traffic
market.py   a source from a seed
limits.py   what the exchange enforces: message rate, weight, bans
faults.py   what goes wrong on command, and the list of what did
rest.py     the REST surface under /api/v3
server.py   sockets, playback and the control path
"""
