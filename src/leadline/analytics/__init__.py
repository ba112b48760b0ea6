"""Pure functions from records to results. They know neither where records come from nor who asks.

stats.py   ranks against own history, least squares, effective sample size
"""
