"""The version of this package.

For: the build and `Hello.client`. Not for: the version of the protocol (see `_transport`).
"""

__version__ = "0.1.0"
