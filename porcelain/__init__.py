"""Shared vocabulary of the porcelain project: labels, dataset folders, pictures, bundles."""

__version__ = "0.1.0"
