"""The mathematics: ratings, factors P and Q, the schedule of an epoch and how it is cut, RMSE and MAE, predictions.

No spec, no file and no clock: arrays in, arrays out. What trains lives in `backends`.
"""
