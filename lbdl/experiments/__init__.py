"""The heavy runs of the topics, one module a topic, and under `recorded/` the results that the book shows."""
