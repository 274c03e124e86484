"""Using a trained model: scores and evaluation, predictions and recommendations.

A model and ratings in, numbers or lists out; knows nothing of records and studies.
"""
