"""What runs inside a hospital: the Flower ClientApp, local training, evaluation and explanations."""
