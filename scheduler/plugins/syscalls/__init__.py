"""Rating nodes by the system calls that their pods may make."""
