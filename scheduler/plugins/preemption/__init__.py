"""Making room for a pod by evicting others: what is tried, and whom it may cost."""
