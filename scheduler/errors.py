"""Every exception that the scheduler raises on purpose.

SchedulerError
├── ConfigError     the profile is wrong: exit 2, do not retry
└── PluginError     a plugin broke its contract: a bug, shown by the checkers

A pod that fits nowhere is no error: see ``framework.status.Status``. Failures between us and the
API server are ``kube.errors``.
"""

from kube.edge.settings import SettingsError


class SchedulerError(Exception):
    """Any failure that the scheduler names itself."""


class ConfigError(SchedulerError, SettingsError):
    """A profile names what does not exist, or contradicts itself."""


class PluginError(SchedulerError):
    """A plugin broke the contract of its extension point."""
