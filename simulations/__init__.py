"""Several sites on one machine: phantom mammograms, scenarios, an in-process Flower Grid, baselines."""
