"""Pure functions from records to results. They know neither where records come from nor who asks.

stats.py           ranks against own history, least squares, mean reversion
reasons.py         why a value is None: the codes

book_sides.py      a frozen book: how far it is known, bands, what a size takes
top.py             its best prices, bands and usual sizes (orderbook_l1)
ladder.py          its rows as they were asked for, and as they are written (orderbook_l2)
impact.py          what a size would cost (estimate_market_impact)
walls.py           levels that are larger than usual
microprice.py      the mid plus the move that such best prices were followed by

order_flow.py      who pressed: order-flow imbalance, rates, label, explained move
trades.py          taker orders, delta, cost of trading as it was
health.py          how good a market is, in general and for this symbol

histogram.py       what traded where and when, in a form that adds up
volume_profile.py  where trading happened
firmness.py        how firm that picture is: resamples, nodes
vacuums.py         where little traded, and where little rests
"""
