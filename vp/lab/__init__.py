"""Experiments: rows, claims, reports, batch reproduction."""
