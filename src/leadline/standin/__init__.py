"""A Binance spot market on loopback: the built-in source of the try-out, and the test bed for what the exchange seldom does.

Nothing is shared with the adapter or the book: encoding here, decoding there, so that a common bug cannot hide.

source.py   what the server asks of a source; the records that both sources give out
replay.py   a source from recorded traffic
market.py   a source from a seed
names.py    names for a market of many symbols
tape.py     the trades of a symbol: rows, candles, sums of 24 hours
figures.py  candles and tickers in the exchange's words
derived.py  the streams that are worked out
player.py   moves a source through time, and the derived streams with it
pace.py     virtual time, and how long the exchange takes
limits.py   what the exchange enforces: messages, connections, weight, bans
faults.py   what goes wrong on command, and the list of what did
asking.py   what a client of the streams may ask for
sockets.py  connections, and who gets which message
params.py   the parameters of a REST request
answers.py  what REST answers
rest.py     the REST surface: endpoints, weights, headers, delays
pages.py    refusals in HTML
control.py  the control path under /_standin/
tls.py      the certificate of the TLS port
server.py   all of it together, and the command
"""
