"""How good are scores and explanations: discrimination, calibration, intervals, boxes."""
