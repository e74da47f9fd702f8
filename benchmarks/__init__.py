"""What measures speed, memory, bytes and risks; each file is a script."""
