"""handcap: embodiment-free capture, from bytes off the wire to data robots can learn from."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("handcap")
except PackageNotFoundError:  # a source tree on sys.path that was never installed
    __version__ = "0+uninstalled"
