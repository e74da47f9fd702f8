"""From image file to network input: reading, polarity, breast, intensity, geometry, preprocessing."""
