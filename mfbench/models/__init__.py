"""What is done with a trained model: it is scored and evaluated, asked for predictions and recommendations.

No records and no studies: a model and ratings in, numbers or lists out.
"""
