"""A plugin that cannot be imported: the package it needs is not installed."""

import a_package_nobody_has  # noqa: F401
