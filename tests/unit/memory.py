"""What a process holds for itself alone."""

from pathlib import Path


def anonymous_megabytes(process: int | str = "self") -> int:
    """Resident memory that no file stands behind (proc(5), RssAnon), in MiB."""
    return int(Path(f"/proc/{process}/status").read_text().split("RssAnon:")[1].split()[0]) >> 10
