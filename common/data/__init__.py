"""From a manifest to batches: manifest, splits, cache of prepared images, datasets, sampling, augmentation."""
