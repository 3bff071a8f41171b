"""Plugins that rate nodes by what is really used on them: trimaran's, and Peaks."""
