"""The deployed federation at the coordinator: founding it, admitting sites, serving them, keeping runs going."""
