"""Pure aggregation: site weights, the streaming mean, and the server's optimiser step."""
