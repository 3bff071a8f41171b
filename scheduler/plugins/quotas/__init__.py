"""Elastic quotas: what namespaces are guaranteed, may borrow, and must give back."""
