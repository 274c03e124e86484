"""The mathematics: ratings, the factors P and Q, the schedule of an epoch, RMSE and MAE, predictions.

Arrays in, arrays out: no specs, files or clocks. The training algorithms live in `backends`.
"""
