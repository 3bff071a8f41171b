"""Rating nodes by one of their labels or annotations."""
