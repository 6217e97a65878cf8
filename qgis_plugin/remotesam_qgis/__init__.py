"""remotesam in QGIS: a thin client; the engine runs in its own Python, in its own process."""


def classFactory(iface):
    """Entry point called by QGIS; nothing heavy is imported before this."""
    from .plugin import RemotesamPlugin

    return RemotesamPlugin(iface)
