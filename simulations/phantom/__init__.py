"""Simulated mammograms: anatomy, lesions, acquisition, vendor processing, real DICOM files with manifest and truth."""
