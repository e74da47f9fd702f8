"""What runs at the coordinator: the Flower ServerApp, round loop, aggregation, admission checks and report."""
