"""Bundles in the field: installed beside each other, taken into use by one rename, and taken back when they fail."""
