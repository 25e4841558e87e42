"""How many devices lie along each axis of the mesh."""

import dataclasses


@dataclasses.dataclass
class MeshConfig:
    """Devices along each axis; -1 means the rest. The product must equal the number of devices used."""

    data: int = 1  # rows of the batch
    fsdp: int = 1  # rows of the batch, and parameters split with them
    tensor: int = 1  # heads, feed-forward and vocabulary
