"""Pure functions from records to results. They know neither where records come from nor who asks.

stats.py           ranks against own history, least squares, mean reversion
order_flow.py      who pressed: order-flow imbalance, rates, label, explained move
trades.py          taker orders, delta, cost of trading as it was
volume_profile.py  where trading happened, and how firm that picture is
vacuums.py         where little traded, and where little rests
liquidity.py       how thick the book is, and what a size would cost
health.py          how good a market is, in general and for this symbol
"""
