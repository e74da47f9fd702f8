"""Case reports for the radiologist: what the model says of an exam, where it looked, what would change its mind."""
