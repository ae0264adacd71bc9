"""The trusted evaluator: rebuild a model from its hand-over, measure it, score it."""
