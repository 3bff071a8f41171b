"""What every program needs at its own edge: settings, logs, problem documents, serving."""
