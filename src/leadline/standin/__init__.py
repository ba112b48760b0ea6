"""A Binance spot market on loopback: the built-in source of the try-out, and the test bed for what the exchange seldom does.

Nothing is shared with the adapter or the book: encoding here, decoding there, so that a common bug cannot hide.

What a market is
source.py       what the server asks of one; the records that every market gives out
tape.py         the trades of a symbol: rows, candles, sums of 24 hours
replay.py       a market from recorded traffic
market.py       the synthetic market: symbols, time, truth, what is done to it
model.py        one symbol: the clocks that change its book
listing.py      one symbol: its book, and what is told of it
tables.py       what was measured of the real market        draws.py  chance, in raw bits
specs.py        which symbols there are                     names.py  names for many
past.py         the day before                              scenes.py regimes and scenes
truth.py        every change, and so the book at every id

What happens when
player.py       moves a market through time                 pace.py   virtual time
script.py       what is due when
derived.py      the streams that are worked out             figures.py candles and tickers in the exchange's words

What clients see
server.py       all of it together, and the command
sockets.py      connections, and who gets which message     asking.py what they may ask for
rest.py         endpoints, weights, headers, delays         params.py answers.py pages.py
limits.py       what the exchange enforces                  tls.py    the certificate
control.py      the control path under /_standin/

What goes wrong
faults.py       requests, and the list of what was done     bending.py frames
switchboard.py  market, connections, limits
"""
