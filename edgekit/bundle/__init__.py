"""What a compile leaves behind: artifacts, a manifest, and a safe way to read them."""

from edgekit.bundle.bundle import Bundle
from edgekit.bundle.manifest import Artifact, File, Manifest, Port, Verification

__all__ = ["Artifact", "Bundle", "File", "Manifest", "Port", "Verification"]
