"""A hospital's node: enrolment, policy, the connection to the coordinator and the executor of its requests."""
