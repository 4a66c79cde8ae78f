"""Organisations, people, datasets, access requests and grants: who may do what with which data."""
