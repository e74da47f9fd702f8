"""The detector on a site's own patients: what it says of every view, its FROC curve, pictures of hits and misses."""
