"""Kubelets: they carry out in the world what the store says, and tell the store what came of it."""
