"""Ground truth for the detectors: known things are put into a true stream, the whole path runs, the answers are compared.

Read in this order: source (the market), path (feed, recorder, store), weave (a second market, made of the first and a script),
edits and faults (the scripts), placements, asking (the questions), score.
"""
