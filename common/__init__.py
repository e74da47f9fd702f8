"""What hospital and coordinator share: configuration, wire contract, images, data, models, metrics.

Imports nothing of ours outside this package.
"""
